"""Finds installed plugins and answers for their components. Imports no torch.

Plugins are loaded one by one; one that fails is remembered with its distribution and cause and
does not stop the others. What is wrong becomes an error when a spec asks for it.
"""

from __future__ import annotations

import functools
import importlib
import tomllib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from typing import Any, Generic, TypeVar

import attrs
import pluggy

from hacore.errors import HacoreError, PluginError, one_line
from hacore.plugin import ACTIONS, GROUP, KINDS, Command, Component, DataTool, Executor, Hooks, RunLogger

D = TypeVar("D", bound=Component | DataTool | Executor | RunLogger | Command)

OTHERS = ("executor", "logger", "command")
"""What plugins declare beside components and data tools."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest known name, or nothing."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


@attrs.frozen(kw_only=True)
class Installed(Generic[D]):
    """What a plugin declares, with the distribution that provides it.

    kind: one of ``KINDS``, ``OTHERS``, or the action of a data tool.
    """

    kind: str
    declared: D
    distribution: str
    version: str

    @property
    def name(self) -> str:
        """As a spec or the command line has it."""
        return self.declared.name

    def load(self) -> Any:
        """The class, function or command; imports its module."""
        what = f"{_label(self.kind, self.name)} of {self.distribution} {self.version}"
        return _load(self.declared.target, what, self.distribution)


def _load(target: str, what: str, distribution: str) -> Any:
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        raise PluginError(
            f"{what}: cannot load {target}: {describe(error)}; "
            f"try 'pip install --force-reinstall {distribution}'"
        ) from error


@attrs.frozen(kw_only=True)
class BrokenPlugin:
    """A plugin that could not be used, and why."""

    entry_point: str
    distribution: str
    cause: str

    def __str__(self) -> str:
        return f"plugin '{self.entry_point}' of {self.distribution} does not load: {self.cause}"


def describe(error: BaseException) -> str:
    """An exception on one line, with its type unless it was written for users."""
    text = one_line(" ".join(str(error).split()))
    if isinstance(error, HacoreError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def catalogue() -> dict[str, dict[str, str]]:
    """{kind: {name: distribution}} of published components, installed or not."""
    text = files("hacore").joinpath("catalogue.toml").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, str]] = tomllib.loads(text)
    return loaded


class Registry:
    """What the installed plugins declare."""

    def __init__(self, plugins: Iterable[EntryPoint]) -> None:
        self.broken: list[BrokenPlugin] = []
        self._found: dict[tuple[str, str], list[Installed[Any]]] = {}
        for entry_point in sorted(plugins, key=lambda plugin: (plugin.name, plugin.value)):
            distribution = entry_point.dist.name if entry_point.dist else "unknown distribution"
            version = entry_point.dist.version if entry_point.dist else "unknown"
            try:
                declared = _declared_by(entry_point)
            except Exception as error:
                self.broken.append(
                    BrokenPlugin(
                        entry_point=entry_point.name, distribution=distribution, cause=describe(error)
                    )
                )
                continue
            for kind, it in declared:
                self._found.setdefault((kind, it.name), []).append(
                    Installed(kind=kind, declared=it, distribution=distribution, version=version)
                )

    def components(self, kind: str | None = None) -> list[Installed[Component]]:
        """Every usable component (of a kind), by kind in the order of ``KINDS``, then by name."""
        return [it for its in KINDS if kind in (None, its) for it in self._of(its)]

    def tools(self, action: str) -> list[Installed[DataTool]]:
        """Every usable data tool of an action, by the name of its dataset."""
        return self._of(action)

    def executors(self) -> list[Installed[Executor]]:
        """Every usable executor, by name."""
        return self._of("executor")

    def loggers(self) -> list[Installed[RunLogger]]:
        """Every usable run logger, by name."""
        return self._of("logger")

    def commands(self) -> list[Installed[Command]]:
        """Every usable subcommand of a plugin, by name."""
        return self._of("command")

    def _of(self, kind: str) -> list[Installed[Any]]:
        return [them[0] for (its, _), them in sorted(self._found.items()) if its == kind and len(them) == 1]

    def problems(self) -> list[str]:
        """Broken plugins and names declared twice, a line each."""
        order = [*KINDS, *ACTIONS, *OTHERS]
        twice = sorted(
            (key for key, them in self._found.items() if len(them) > 1), key=lambda it: order.index(it[0])
        )
        return [*map(str, self.broken), *(_collision(*key, self._found[key]) for key in twice)]

    def find(self, kind: str, name: str) -> Installed[Any]:
        """The component, executor or logger of that name.

        Raises PluginError saying what exists, what to install, or what is wrong with the plugin.
        """
        found = self._only(kind, name)
        if found is None:
            raise PluginError(self._missing(kind, name))
        return found

    def find_tool(self, action: str, name: str) -> Installed[DataTool]:
        """The tool for a dataset. Raises PluginError saying for which there is one, or what to install."""
        found = self._only(action, name)
        if found:
            return found
        if name in catalogue().get(action, {}):
            raise PluginError(self._missing(action, name))
        self.find("dataset", name)
        names = [it.name for it in self.tools(action)]
        raise PluginError(
            f"dataset '{name}' has nothing to {action}; datasets that do: {', '.join(names) or 'none'}"
        )

    def find_command(self, name: str) -> Installed[Command] | None:
        """The subcommand of that name, None where nobody declares or publishes one.

        Raises PluginError saying what to install, or who declares it twice.
        """
        found = self._only("command", name)
        if found is None and name in catalogue()["command"]:
            raise PluginError(self._missing("command", name))
        return found

    def _only(self, kind: str, name: str) -> Installed[Any] | None:
        """The one that is declared, if any. Raises PluginError where there are several."""
        providers = self._found.get((kind, name), [])
        if len(providers) > 1:
            raise PluginError(_collision(kind, name, providers))
        return providers[0] if providers else None

    def _missing(self, kind: str, name: str) -> str:
        label = f"{kind.replace('_', ' ')} '{name}'"
        published = catalogue().get(kind, {})
        if name in published:
            distribution = published[name]
            for broken in self.broken:
                if broken.distribution == distribution:
                    return f"{label} cannot be used: {broken}"
            return f"{label} is not installed; run 'pip install {distribution}'"
        installed = ["local"] if kind == "executor" else []
        installed += [it.name for it in self._of(kind)]
        known = sorted({*installed, *published})
        text = f"unknown {label}{did_you_mean(name, known)}"
        elsewhere = [k for k in KINDS if (k, name) in self._found or name in catalogue().get(k, {})]
        if elsewhere:
            other = elsewhere[0].replace("_", " ")
            text += f"; '{name}' is {'an' if other[0] in 'aeiou' else 'a'} {other}"
        text += f"; installed: {', '.join(installed) or 'none'}"
        return text + "".join(f"; {broken}" for broken in self.broken)


def _label(kind: str, name: str) -> str:
    if kind == "score":
        return f"'score {name}'"
    return f"'data {kind} {name}'" if kind in ACTIONS else f"{kind.replace('_', ' ')} '{name}'"


def _collision(kind: str, name: str, providers: Sequence[Installed[Any]]) -> str:
    names = " and ".join(it.distribution for it in providers)
    return f"{_label(kind, name)} is declared by {names}; uninstall all but one of them"


def _declared_by(entry_point: EntryPoint) -> list[tuple[str, Any]]:
    """Load one plugin and check what it declares: (kind, declared)."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    plugin = entry_point.load()
    name = manager.register(plugin)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        known = [hook for hook in vars(Hooks) if hook.startswith("hacore_")]
        wrong = [
            hook
            for hook in dir(plugin)
            if hook not in known and manager.parse_hookimpl_opts(plugin, hook) is not None
        ]
        raise PluginError(
            f"unknown hook {', '.join(map(repr, wrong))}{did_you_mean(wrong[0], known)}"
        ) from None
    if not manager.get_hookcallers(plugin):
        raise PluginError("no hook, as 'hacore_components'; mark the function with hacore.plugin.hookimpl")
    assert name is not None
    hooks = manager.hook
    return [
        *((it.kind, it) for it in _each(hooks.hacore_components(), "hacore_components", Component)),
        *((it.action, it) for it in _each(hooks.hacore_data_tools(), "hacore_data_tools", DataTool)),
        *(("executor", it) for it in _each(hooks.hacore_executors(), "hacore_executors", Executor)),
        *(("logger", it) for it in _each(hooks.hacore_loggers(), "hacore_loggers", RunLogger)),
        *(("command", it) for it in _each(hooks.hacore_commands(), "hacore_commands", Command)),
    ]


def _each(given: Iterable[Iterable[D]], hook: str, cls: type[D]) -> list[D]:
    declared = [it for many in given for it in many]
    for it in declared:
        if not isinstance(it, cls):
            raise PluginError(f"{hook} gave {it!r}, not a hacore.plugin.{cls.__name__}")
    return declared


@functools.cache
def registry() -> Registry:
    """The registry of this process, loaded once."""
    return Registry(entry_points(group=GROUP))
