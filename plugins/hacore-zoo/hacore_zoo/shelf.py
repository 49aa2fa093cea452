"""The installed models, with where each is from. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from hacore.machine.files import read_json
from hacore.registry import registry
from hacore.runs import Result, RunFolder

ORIGIN = "origin.json"
"""Beside a model's weights: the spec that it was trained by, the date, and examples."""
_WAY_OUT = "install its package again"


@attrs.frozen(kw_only=True)
class Example:
    """A question about a picture, the answer of the model as it was recorded, and the right one."""

    picture: Path
    question: str
    answer: str
    right: str


@attrs.frozen(kw_only=True)
class Model:
    """An installed model.

    name: as in ``zoo/NAME``. summary: one line. distribution: the package that brings it. folder: where its
    files are. result, environment: of its training. spec, overrides: what it was trained by. date: of the
    training. examples: pictures to try it on.
    """

    name: str
    summary: str
    distribution: str
    folder: Path
    result: Result
    environment: dict[str, Any]
    spec: str
    overrides: tuple[str, ...]
    date: str
    examples: tuple[Example, ...]

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def names() -> list[str]:
    """Of all installed models, as in ``zoo/NAME``."""
    return [component.name.replace("-", "_") for component in registry().of("model")]


def read_model(name: str) -> Model:
    """The model ``zoo/NAME``. Raises PluginError for a name that is none, RunError for damaged files."""
    component = registry().find("model", name.replace("_", "-"))
    folder: Path = component.load()
    run = RunFolder(folder)
    origin = read_json(folder / ORIGIN, _WAY_OUT)
    examples = tuple(
        Example(**{**example, "picture": folder / example["picture"]}) for example in origin["examples"]
    )
    return Model(
        name=component.name.replace("-", "_"),
        summary=component.declared.summary,
        distribution=component.distribution,
        folder=folder,
        result=run.result(),
        environment=read_json(run.environment_file, _WAY_OUT),
        spec=origin["spec"],
        overrides=tuple(origin["overrides"]),
        date=origin["date"],
        examples=examples,
    )
