"""A component that an installed distribution declares, and a plugin that cannot be used."""

from __future__ import annotations

import importlib
from typing import Any

import attrs

from hacore.errors import PluginError, describe_error
from hacore.plugin import KINDS, Component
from hacore.registry.catalogue import CORE, published
from hacore.registry.installing import install_words


@attrs.frozen(kw_only=True)
class Installed:
    """What a plugin declares, with the distribution that provides it."""

    declared: Component
    distribution: str
    version: str

    @property
    def kind(self) -> str:
        """One of ``KINDS``."""
        return self.declared.kind

    @property
    def name(self) -> str:
        """As a spec or the command line has it."""
        return self.declared.name

    def load(self) -> Any:
        """The class, function or command; imports its module.

        Raises PluginError when that fails, or when the class is not one of its kind.
        """
        kind = KINDS[self.kind]
        loaded = _load(
            self.declared.target,
            f"{kind.of(self.name)} of {self.distribution} {self.version}",
            self.distribution,
        )
        if kind.chosen or self.kind == "observer":
            base = _load(kind.base, kind.words, CORE)
            if not (isinstance(loaded, type) and issubclass(loaded, base)):
                raise PluginError(
                    f"{kind.of(self.name)}: {loaded!r} is not a subclass of {kind.base.replace(':', '.')}"
                )
        return loaded


def _load(target: str, what: str, distribution: str) -> Any:
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        problem = f"{what}: cannot load {target}: {describe_error(error)}"
        if distribution in published():
            raise PluginError(problem, install_words(distribution)) from error
        raise PluginError(f"{problem}; install it again from where it came") from error


@attrs.frozen(kw_only=True)
class BrokenPlugin:
    """A plugin that cannot be used, and why."""

    entry_point: str
    distribution: str
    cause: str

    def __str__(self) -> str:
        return f"plugin '{self.entry_point}' of {self.distribution} does not load: {self.cause}"
