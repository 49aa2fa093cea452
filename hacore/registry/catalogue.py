"""The published components, installed or not, so that a spec can name the package of one that is absent."""

from __future__ import annotations

import tomllib
from importlib.resources import files


def catalogue() -> dict[str, dict[str, str]]:
    """{kind: {name: distribution}} of published components, installed or not."""
    text = files("hacore.registry").joinpath("catalogue.toml").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, str]] = tomllib.loads(text)
    return loaded
