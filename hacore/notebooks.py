"""How things show themselves in notebooks: as hacore-report does, or as text. Imports no torch."""

from __future__ import annotations

import importlib.util
from typing import Any


def notebook_part(name: str) -> Any:
    """What ``hacore_report.notebook`` calls so, or None."""
    installed = importlib.util.find_spec("hacore_report")
    return getattr(importlib.import_module("hacore_report.notebook"), name) if installed else None


def html_of(value: object) -> str | None:
    """A class's ``_repr_html_``."""
    draw = notebook_part("html_of")
    return draw(value) if draw else None
