"""Finds installed plugins and answers for their components. Imports no torch.

Plugins are loaded one by one; one that fails is remembered with its distribution and cause and
does not stop the others. What is wrong becomes an error when a spec asks for it.
"""

from __future__ import annotations

import functools
import importlib
import tomllib
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import pluggy

from hacore.errors import HacoreError, PluginError, one_line
from hacore.plugin import GROUP, KINDS, Component, DataTool, Executor, Hooks, RunLogger
from hacore.tools import Outcome, Tell

if TYPE_CHECKING:
    from hacore.executors import Demand, Workers
    from hacore.loggers import Logged, Logger

T = TypeVar("T")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest known name, or nothing."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


@attrs.frozen(kw_only=True)
class Installed:
    """A component with the distribution that provides it."""

    component: Component
    distribution: str
    version: str

    def load(self) -> type[Any]:
        """The component's class; imports its module."""
        what = f"{self.component.kind} '{self.component.name}' of {self.distribution} {self.version}"
        loaded: type[Any] = _load(self.component.target, what, self.distribution)
        return loaded


@attrs.frozen(kw_only=True)
class InstalledTool:
    """A data tool with the distribution that provides it."""

    tool: DataTool
    distribution: str
    version: str

    def load(self) -> Callable[[Any, Tell], Outcome]:
        """The tool's function; imports its module."""
        what = f"'{self.tool.action} {self.tool.name}' of {self.distribution} {self.version}"
        loaded: Callable[[Any, Tell], Outcome] = _load(self.tool.target, what, self.distribution)
        return loaded


@attrs.frozen(kw_only=True)
class InstalledExecutor:
    """An executor with the distribution that provides it."""

    executor: Executor
    distribution: str
    version: str

    def load(self) -> Callable[[Any, Demand], Workers]:
        """The class of its workers; imports its module."""
        what = f"executor '{self.executor.name}' of {self.distribution} {self.version}"
        loaded: Callable[[Any, Demand], Workers] = _load(self.executor.target, what, self.distribution)
        return loaded


@attrs.frozen(kw_only=True)
class InstalledLogger:
    """A run logger with the distribution that provides it."""

    logger: RunLogger
    distribution: str
    version: str

    def load(self) -> Callable[[Any, Logged], Logger]:
        """The logger's class; imports its module."""
        what = f"logger '{self.logger.name}' of {self.distribution} {self.version}"
        loaded: Callable[[Any, Logged], Logger] = _load(self.logger.target, what, self.distribution)
        return loaded


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
        self._found: dict[tuple[str, str], list[Installed]] = {}
        self._tools: dict[tuple[str, str], list[InstalledTool]] = {}
        self._executors: dict[str, list[InstalledExecutor]] = {}
        self._loggers: dict[str, list[InstalledLogger]] = {}
        for entry_point in sorted(plugins, key=lambda plugin: (plugin.name, plugin.value)):
            distribution = entry_point.dist.name if entry_point.dist else "unknown distribution"
            version = entry_point.dist.version if entry_point.dist else "unknown"
            try:
                components, tools, executors, loggers = _declared_by(entry_point)
            except Exception as error:
                self.broken.append(
                    BrokenPlugin(
                        entry_point=entry_point.name, distribution=distribution, cause=describe(error)
                    )
                )
                continue
            for component in components:
                self._found.setdefault((component.kind, component.name), []).append(
                    Installed(component=component, distribution=distribution, version=version)
                )
            for tool in tools:
                self._tools.setdefault((tool.action, tool.name), []).append(
                    InstalledTool(tool=tool, distribution=distribution, version=version)
                )
            for executor in executors:
                self._executors.setdefault(executor.name, []).append(
                    InstalledExecutor(executor=executor, distribution=distribution, version=version)
                )
            for logger in loggers:
                self._loggers.setdefault(logger.name, []).append(
                    InstalledLogger(logger=logger, distribution=distribution, version=version)
                )

    def components(self, kind: str | None = None) -> list[Installed]:
        """Every usable component (of a kind), by kind in the order of ``KINDS``, then by name."""
        found = [
            providers[0]
            for (its_kind, _), providers in self._found.items()
            if len(providers) == 1 and kind in (None, its_kind)
        ]
        return sorted(found, key=lambda it: (KINDS.index(it.component.kind), it.component.name))

    def problems(self) -> list[str]:
        """Broken plugins and names declared twice, a line each."""
        twice = [_collision(_label(*key), them) for key, them in self._found.items() if len(them) > 1]
        tools = [_collision(_tool_label(*key), it) for key, it in self._tools.items() if len(it) > 1]
        executors = [_collision(f"executor '{it}'", them) for it, them in self._executors.items() if them[1:]]
        loggers = [_collision(f"logger '{it}'", them) for it, them in self._loggers.items() if them[1:]]
        return [str(broken) for broken in self.broken] + twice + tools + executors + loggers

    def find(self, kind: str, name: str) -> Installed:
        """The component of that kind and name.

        Raises PluginError saying what exists, what to install, or what is wrong with the plugin.
        """
        providers = self._found.get((kind, name), [])
        if len(providers) == 1:
            return providers[0]
        if providers:
            raise PluginError(_collision(_label(kind, name), providers))
        raise PluginError(self._missing(kind, name))

    def tools(self, action: str) -> list[InstalledTool]:
        """Every usable data tool of an action, by the name of its dataset."""
        found = [them[0] for (its, _), them in self._tools.items() if its == action and len(them) == 1]
        return sorted(found, key=lambda it: it.tool.name)

    def find_tool(self, action: str, name: str) -> InstalledTool:
        """The tool for a dataset. Raises PluginError saying for which there is one, or what to install."""
        providers = self._tools.get((action, name), [])
        if len(providers) == 1:
            return providers[0]
        if providers:
            raise PluginError(_collision(_tool_label(action, name), providers))
        if name in catalogue().get(action, {}):
            raise PluginError(self._missing(action, name))
        self.find("dataset", name)
        names = [it.tool.name for it in self.tools(action)]
        raise PluginError(
            f"dataset '{name}' has nothing to {action}; datasets that do: {', '.join(names) or 'none'}"
        )

    def executors(self) -> list[InstalledExecutor]:
        """Every usable executor, by name."""
        return [them[0] for _, them in sorted(self._executors.items()) if len(them) == 1]

    def find_executor(self, name: str) -> InstalledExecutor:
        """The executor of that name. Raises PluginError saying which exist, or what to install."""
        providers = self._executors.get(name, [])
        if len(providers) == 1:
            return providers[0]
        if providers:
            raise PluginError(_collision(f"executor '{name}'", providers))
        raise PluginError(self._missing("executor", name))

    def loggers(self) -> list[InstalledLogger]:
        """Every usable run logger, by name."""
        return [them[0] for _, them in sorted(self._loggers.items()) if len(them) == 1]

    def find_logger(self, name: str) -> InstalledLogger:
        """The run logger of that name. Raises PluginError saying which exist, or what to install."""
        providers = self._loggers.get(name, [])
        if len(providers) == 1:
            return providers[0]
        if providers:
            raise PluginError(_collision(f"logger '{name}'", providers))
        raise PluginError(self._missing("logger", name))

    def _missing(self, kind: str, name: str) -> str:
        label = kind.replace("_", " ")
        published = catalogue().get(kind, {})
        if name in published:
            distribution = published[name]
            for broken in self.broken:
                if broken.distribution == distribution:
                    return f"{label} '{name}' cannot be used: {broken}"
            return f"{label} '{name}' is not installed; run 'pip install {distribution}'"
        installed = [it.component.name for it in self.components(kind)]
        if kind == "executor":
            installed = ["local", *(it.executor.name for it in self.executors())]
        if kind == "logger":
            installed = [it.logger.name for it in self.loggers()]
        known = sorted({*installed, *published})
        text = f"unknown {label} '{name}'{did_you_mean(name, known)}"
        elsewhere = [k for k in KINDS if (k, name) in self._found or name in catalogue().get(k, {})]
        if elsewhere:
            other = elsewhere[0].replace("_", " ")
            text += f"; '{name}' is {'an' if other[0] in 'aeiou' else 'a'} {other}"
        text += f"; installed: {', '.join(installed) or 'none'}"
        return text + "".join(f"; {broken}" for broken in self.broken)


def _label(kind: str, name: str) -> str:
    return f"{kind.replace('_', ' ')} '{name}'"


def _tool_label(action: str, name: str) -> str:
    return f"'score {name}'" if action == "score" else f"'data {action} {name}'"


def _collision(
    what: str, providers: Sequence[Installed | InstalledTool | InstalledExecutor | InstalledLogger]
) -> str:
    names = " and ".join(it.distribution for it in providers)
    return f"{what} is declared by {names}; uninstall all but one of them"


def _declared_by(
    entry_point: EntryPoint,
) -> tuple[list[Component], list[DataTool], list[Executor], list[RunLogger]]:
    """Load one plugin and check what it declares."""
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
    return (
        _each(manager.hook.hacore_components(), "hacore_components", Component),
        _each(manager.hook.hacore_data_tools(), "hacore_data_tools", DataTool),
        _each(manager.hook.hacore_executors(), "hacore_executors", Executor),
        _each(manager.hook.hacore_loggers(), "hacore_loggers", RunLogger),
    )


def _each(given: Iterable[Iterable[T]], hook: str, cls: type[T]) -> list[T]:
    declared = [it for many in given for it in many]
    for it in declared:
        if not isinstance(it, cls):
            raise PluginError(f"{hook} gave {it!r}, not a hacore.plugin.{cls.__name__}")
    return declared


@functools.cache
def registry() -> Registry:
    """The registry of this process, loaded once."""
    return Registry(entry_points(group=GROUP))
