"""Finds installed plugins and what they declare. Imports no torch.

Plugins are loaded one by one; one that fails is remembered with its distribution and cause and
does not stop the others. What is wrong becomes an error when a spec asks for it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points

import pluggy

from hacore.errors import PluginError, describe_error, did_you_mean
from hacore.plugin import CONTRACT, GROUP, KINDS, SECTIONS, Component, Hooks
from hacore.registry.catalogue import CORE, catalogue
from hacore.registry.installed import BrokenPlugin, Installed
from hacore.registry.installing import install_words

_EARLIER = {f"hacore_{hook}" for hook in ("components", "data_tools", "executors", "commands", "loggers")}
"""Hooks of contract 1."""


class Registry:
    """What the installed plugins declare."""

    def __init__(self, plugins: Iterable[EntryPoint]) -> None:
        self.broken: list[BrokenPlugin] = []
        self._declared: dict[tuple[str, str], list[Installed]] = {}
        for entry_point in sorted(
            plugins, key=lambda p: (getattr(p.dist, "name", "") != CORE, p.name, p.value)
        ):
            distribution = entry_point.dist.name if entry_point.dist else "unknown distribution"
            version = entry_point.dist.version if entry_point.dist else "unknown"
            try:
                for component in self._checked(_declared_by(entry_point), distribution):
                    installed = Installed(declared=component, distribution=distribution, version=version)
                    self._declared.setdefault((component.kind, component.name), []).append(installed)
            except Exception as error:
                self.broken.append(
                    BrokenPlugin(
                        entry_point=entry_point.name, distribution=distribution, cause=describe_error(error)
                    )
                )

    def _checked(self, components: list[Component], distribution: str) -> list[Component]:
        """The components of a plugin. Raises PluginError where one takes a name of the core's own."""
        for component in components:
            others = self._declared.get((component.kind, component.name), [])
            if distribution != CORE and any(other.distribution == CORE for other in others):
                label = KINDS[component.kind].of(component.name)
                raise PluginError(f"{label} is hacore's own; choose another name")
        return components

    def of(self, *kinds: str) -> list[Installed]:
        """Every usable component of these kinds, by kind; the core's as it declares them, others by name."""
        return [
            providers[0]
            for kind in kinds
            for (its_kind, _), providers in sorted(
                self._declared.items(),
                key=lambda item: "" if item[1][0].distribution == CORE else item[0][1],
            )
            if its_kind == kind and len(providers) == 1
        ]

    def problems(self) -> list[str]:
        """Broken plugins and names declared twice, a line each."""
        several = [key for key, providers in self._declared.items() if len(providers) > 1]
        twice = [key for kind in KINDS for key in several if key[0] == kind]
        return [*map(str, self.broken), *(_collision(*key, self._declared[key]) for key in twice)]

    def find(self, kind: str, name: str) -> Installed:
        """As ``look_up``, but raises PluginError saying what exists where nobody declares or publishes it."""
        installed = self.look_up(kind, name)
        if installed is None:
            raise self._missing(kind, name)
        return installed

    def look_up(self, kind: str, name: str) -> Installed | None:
        """The component of that kind and name, None where nobody declares or publishes one.

        Raises PluginError saying what to install, or who declares it twice.
        """
        providers = self._declared.get((kind, name), [])
        if len(providers) > 1:
            raise PluginError(_collision(kind, name, providers))
        if not providers and name in catalogue().get(kind, {}):
            raise self._missing(kind, name)
        return providers[0] if providers else None

    def _missing(self, kind: str, name: str) -> PluginError:
        label = f"{KINDS[kind].words} '{name}'"
        published = catalogue().get(kind, {})
        if name in published:
            distribution = published[name]
            for broken in self.broken:
                if broken.distribution == distribution:
                    return PluginError(f"{label} cannot be used: {broken}")
            return PluginError(f"{label} is not installed", install_words(distribution))
        installed = [component.name for component in self.of(kind)]
        text = f"unknown {label}{did_you_mean(name, sorted({*installed, *published}))}"
        elsewhere = [
            KINDS[other].words
            for other in SECTIONS.values()
            if (other, name) in self._declared or name in catalogue().get(other, {})
        ]
        if elsewhere:
            text += f"; '{name}' is {'an' if elsewhere[0][0] in 'aeiou' else 'a'} {elsewhere[0]}"
        text += f"; installed: {', '.join(installed) or 'none'}"
        return PluginError(text + "".join(f"; {broken}" for broken in self.broken))


def _collision(kind: str, name: str, providers: Sequence[Installed]) -> str:
    names = " and ".join(provider.distribution for provider in providers)
    return f"{KINDS[kind].of(name)} is declared by {names}; uninstall all but one of them"


def _declared_by(entry_point: EntryPoint) -> list[Component]:
    """Load one plugin and check what it declares."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    plugin = entry_point.load()
    hooks = [name for name in dir(plugin) if manager.parse_hookimpl_opts(plugin, name) is not None]
    # The first contract had other hooks and no number; since the second, a plugin says which it is for.
    contract = 1 if _EARLIER.intersection(hooks) else getattr(plugin, "hacore_contract", 2)
    if contract != CONTRACT:
        raise PluginError(
            f"made for contract {contract!r} between hacore and its plugins, this is contract {CONTRACT}; "
            "docs/contracts.md says what changed and how to bring a plugin up to date"
        )
    known = [name for name in vars(Hooks) if name.startswith("hacore_")]
    if wrong := [name for name in hooks if name not in known]:
        raise PluginError(f"unknown hook {', '.join(map(repr, wrong))}{did_you_mean(wrong[0], known)}")
    if not hooks:
        raise PluginError("no hook 'hacore_declare'; mark the function with hacore.plugin.hookimpl")
    manager.register(plugin)
    declared = [component for many in manager.hook.hacore_declare() for component in many]
    for component in declared:
        if not isinstance(component, Component):
            raise PluginError(f"hacore_declare gave {component!r}, not a hacore.plugin.Component")
    return declared


@functools.cache
def registry() -> Registry:
    """The registry of this process, loaded once."""
    return Registry(entry_points(group=GROUP))
