"""The slider of a run is an option that its selector declares as live, whatever its name."""

import importlib
import sys

import numpy as np
import pytest
from hacore_serve.limits import Refused
from hacore_serve.served import serve_runs

import hacore
from hacore.registry import registry

DECLARATION = """
from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Count:
    '''The first live option is no number.'''

    order: Literal["first", "last"] = option("first", "which cells", live=True)
    every: bool = option(False, "keep every cell", live=True)
    width: int = option(2, "not live", min=1)
    amount: int = option(3, "cells to keep", min=1, live=True)


@attrs.frozen(kw_only=True)
class Share:
    '''Two options that exclude each other, and one that stands by itself.'''

    amount: int | None = option(None, "cells to keep", min=1, live=True)
    share: float | None = option(None, "share of the cells to keep", above=0, max=1, live=True)
    label: str = option("", "not live")

    def __attrs_post_init__(self):
        if self.amount is not None and self.share is not None:
            raise ValueError("give amount or share, not both")


@attrs.frozen(kw_only=True)
class Cut:
    '''A number that is not whole.'''

    cut: float = option(2.0, "keep cells - cut of the cells", min=0, live=True)


@attrs.frozen(kw_only=True)
class Portion:
    '''A number that is not whole and ends at 1.'''

    portion: float = option(0.2, "share of the cells to keep", above=0, max=1, live=True)


@attrs.frozen(kw_only=True)
class Fixed:
    '''Nothing is live, whatever it is called.'''

    k: int = option(3, "cells to keep", min=1)
    threshold: float = option(1.0, "as AdaHAN's", above=0)


@hookimpl
def hacore_declare():
    return [
        Component(
            kind="selector", name=f"in-order-{config.__name__.lower()}", target="in_order_selector:InOrder",
            config=config, summary="keeps cells in the order of the grid",
        )
        for config in (Count, Share, Cut, Portion, Fixed)
    ]
"""
SELECTOR = """
import torch

from hacore.interfaces import Selection, Selector
from hacore.selection import gather_cells, l2_presence


class InOrder(Selector):
    def forward(self, cells, question):
        count, config = self.sizes.cells, self.config
        kept = getattr(config, "amount", None) or getattr(config, "k", None)
        if kept is None and getattr(config, "share", None):
            kept = round(config.share * count)
        if kept is None and hasattr(config, "portion"):
            kept = round(config.portion * count)
        if kept is None and hasattr(config, "cut"):
            kept = count - int(config.cut)
        index_QK = torch.arange(max(1, min(kept or count, count))).expand(len(cells.features), -1)
        return Selection(
            features_QKC=gather_cells(cells.features, index_QK),
            index_QK=index_QK,
            presence_QN=l2_presence(cells.features),
            positions_N2=cells.positions,
            grid=cells.grid,
        )
"""
CELLS = 25
QUESTION = "is the red object on the left?"


@pytest.fixture(scope="module")
def load(train, tmp_path_factory):
    """load(name, config, options): the trained model of a selector of a plugin made for these tests."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "in_order-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: in-order\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hacore]\nin-order = in_order\n")
    (folder / "in_order.py").write_text(DECLARATION)
    (folder / "in_order_selector.py").write_text(SELECTOR)

    def run(name, config, options=""):
        more = f", {options}" if options else ""
        return hacore.load(train(name, f'{{ use = "in-order-{config}"{more} }}'), device="cpu")

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        registry.cache_clear()
        yield run
    registry.cache_clear()
    for module in ("in_order", "in_order_selector"):
        sys.modules.pop(module, None)


@pytest.fixture(scope="module")
def count(load):
    return load("count", "count")


def slider_of(trained):
    (model,) = serve_runs([trained])
    return model.as_dict()["slider"]


def kept_at(trained, value):
    (model,) = serve_runs([trained])
    reply = model.ask(np.full((75, 75, 3), 200, np.uint8), QUESTION, value, 5)
    return len(reply.kept)


def test_a_live_option_of_another_name_gets_a_slider_of_that_name(count):
    assert slider_of(count) == {"option": "amount", "low": 1, "high": CELLS, "value": 3, "whole": True}
    assert [kept_at(count, value) for value in (None, 1, 17, CELLS)] == [3, 1, 17, CELLS]
    with pytest.raises(Refused, match="found 26; amount is an integer from 1 to 25"):
        kept_at(count, 26)


def test_a_live_number_gets_one_that_is_not_whole(load):
    trained = load("cut", "cut")
    assert slider_of(trained) == {"option": "cut", "low": 0.01, "high": CELLS, "value": 2.0, "whole": False}
    assert [kept_at(trained, value) for value in (None, 0.5, 20.0)] == [CELLS - 2, CELLS, 5]


def test_such_a_slider_ends_where_the_option_does(load):
    trained = load("portion", "portion")
    assert slider_of(trained) == {"option": "portion", "low": 0.01, "high": 1.0, "value": 0.2, "whole": False}
    assert [kept_at(trained, value) for value in (None, 1.0)] == [5, CELLS]


def test_options_that_are_not_live_get_none_whatever_they_are_called(load):
    trained = load("fixed", "fixed", "k = 4")
    assert slider_of(trained) is None
    assert kept_at(trained, None) == 4
    with pytest.raises(Refused, match="value: fixed has no option to change"):
        kept_at(trained, 3)


@pytest.mark.parametrize(
    ("options", "value"),
    [("amount = 4", 4), ("share = 0.2", 5), ("", CELLS)],
    ids=["amount", "share", "neither"],
)
def test_the_slider_s_option_stands_in_for_the_one_that_excludes_it(load, options, value):
    trained = load("share", "share", options)
    assert slider_of(trained) == {"option": "amount", "low": 1, "high": CELLS, "value": value, "whole": True}
    assert [kept_at(trained, amount) for amount in (None, 2)] == [value, 2]


def test_the_trained_value_is_on_the_slider(load):
    assert slider_of(load("many", "count", "amount = 40"))["high"] == 40
    # The slider is logarithmic, and zero is on none of those.
    assert slider_of(load("zero", "cut", "cut = 0.0")) is None


def test_the_page_names_the_slider_as_the_option(visit, serving, count):
    playwright = pytest.importorskip("playwright.sync_api")
    with serving(names=["san"], others=[count]) as address:
        page = visit(address, viewport={"width": 1280, "height": 900})
        page.get_by_label("Question", exact=True).fill(QUESTION)
        page.get_by_role("button", name="Ask", exact=True).click()
        page.get_by_role("radio", name="count").check()
        panel = page.locator(".panel", has=page.get_by_role("heading", name="count", exact=True))
        playwright.expect(panel.locator(".kept")).to_have_text("3 of 25 cells kept")
        panel.get_by_role("slider", name="amount", exact=True).fill("8")
        playwright.expect(panel.locator(".kept")).to_have_text("8 of 25 cells kept")
