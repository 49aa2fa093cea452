"""The published components, installed or not, so that a spec can name the package of one that is absent."""

from __future__ import annotations

import functools
import tomllib
from importlib.resources import files
from typing import Any

CORE = "hacore"  # the distribution of the core, which declares its components as any plugin does


def catalogue() -> dict[str, dict[str, str]]:
    """{kind: {name: distribution}} of published components, installed or not."""
    return {kind: names for kind, names in _tables().items() if kind != "requires"}


def published() -> set[str]:
    """The distributions of this project."""
    return {CORE, *(name for names in _tables().values() for name in names.values())}


def required_libraries(distribution: str) -> list[str]:
    """The libraries of this project that a published distribution requires, after those that they require."""
    library = _tables()["requires"].get(distribution)
    return [*required_libraries(library), library] if library else []


@functools.cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(files("hacore.registry").joinpath("catalogue.toml").read_text(encoding="utf-8"))
