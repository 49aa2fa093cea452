"""sweep.json, which names the runs of a sweep, as its readers take it. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from hacore.machine.files import read_json
from hacore.machine.records import Record


@attrs.frozen(kw_only=True, slots=False, eq=False)
class _Run(Record):
    """A run of a sweep. run: its folder, relative to the sweep's; None before it began."""

    name: str
    run: str | None


@attrs.frozen(kw_only=True, slots=False, eq=False)
class _Index(Record):
    runs: list[_Run]
    overrides: list[str] = attrs.field(factory=list)


def read_index(path: Path) -> dict[str, Any]:
    """The content of sweep.json: ``runs`` and ``overrides``. Raises RunError where it is damaged."""
    way_out = "run 'hacore sweep' with the sweep's spec again"
    content: dict[str, Any] = read_json(path, way_out)
    _Index.from_dict(content, str(path), way_out)
    return content
