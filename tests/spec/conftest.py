"""A registry whose components have an option of every type, and a spec that uses them."""

import types
from typing import Literal

import attrs
import pytest

from hacore.plugin import SECTIONS, Component, hookimpl, option
from hacore.registry import discovery as registries


@attrs.frozen(kw_only=True)
class Nothing:
    """No options."""


@attrs.frozen(kw_only=True)
class Picks:
    """An option of every type."""

    k: int = option(8, "an integer in a range", min=1, max=100)
    share: float = option(0.5, "a number between two others", above=0, below=1)
    sharp: bool = option(True, "a switch")
    label: str = option("", "any text")
    way: Literal["near", "far"] = option("near", "one of two words")
    depth: Literal[18, 34] = option(18, "one of two numbers")
    sizes: tuple[int, ...] = option((1, 2), "integers", min=1)
    span: tuple[float, float] = option((0.0, 1.0), "two numbers")
    limit: int | None = option(None, "an integer, or nothing", min=1)

    def __attrs_post_init__(self):
        if self.limit is not None and self.limit < self.k:
            raise ValueError(f"limit = {self.limit} is less than k = {self.k}; raise limit")


@attrs.frozen
class Point:
    """What the registry asks of an entry point."""

    name: str
    plugin: object

    @property
    def value(self):
        return self.name

    @property
    def dist(self):
        return types.SimpleNamespace(name=f"hacore-{self.name}", version="1.0")

    def load(self):
        return self.plugin


@pytest.fixture(scope="module")
def kit():
    """The registry while a module is tested: one component of each kind, called ``it``.

    The selector ``it`` has the options.
    """
    plugin = types.ModuleType("kit")
    plugin.hacore_declare = hookimpl(
        lambda: [
            Component(
                kind=kind,
                name="it",
                target="kit:It",
                config=Picks if kind == "selector" else Nothing,
                summary="for a test",
            )
            for kind in SECTIONS.values()
        ],
        specname="hacore_declare",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registries, "entry_points", lambda group: [Point("kit", plugin)])
        registries.registry.cache_clear()
        assert registries.registry().problems() == []
        yield registries.registry()
    registries.registry.cache_clear()


GOOD = """\
name = "test"
seed = 0

[data]
use = "it"

[image_encoder]
use = "it"

[question_encoder]
use = "it"

[fuser]
use = "it"

[aggregator]
use = "it"

[selector]
use = "it"
"""


@pytest.fixture(scope="session")
def good():
    """The text of a good spec."""
    return GOOD


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write(more) makes ``spec.toml`` of a good spec and more lines, in the folder of the test.

    The first line of ``more`` is line 21 of the file, in the table of the selector.
    """
    monkeypatch.chdir(tmp_path)

    def run(more="", text=GOOD):
        (tmp_path / "spec.toml").write_text(text + more, encoding="utf-8")
        return "spec.toml"

    return run
