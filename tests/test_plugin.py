"""Declaring components, and what a declaration must be."""

import attrs
import pytest

from hacore.errors import SpecError
from hacore.plugin import ACTIONS, KINDS, SECTIONS, Component, live_options, option
from hacore.spec import load_spec


@attrs.frozen(kw_only=True)
class Config:
    k: int = option(3, "cells to keep", min=1, max=5)


GOOD = {"kind": "selector", "name": "mine", "target": "a.b:C", "config": Config, "summary": "keeps cells"}


@attrs.frozen(kw_only=True)
class NoHelp:
    k: int = 3


@attrs.frozen(kw_only=True)
class NoDefault:
    k: int = attrs.field(metadata={"help": "cells"})


@attrs.frozen(kw_only=True)
class Use:
    use: int = option(3, "cells to keep")


@attrs.frozen(kw_only=True)
class NoSuchType:
    k: "Missing" = option(3, "cells to keep")  # noqa: F821


def test_what_there_is_to_declare():
    assert [*SECTIONS.values()] == [
        *("dataset", "image_encoder", "question_encoder", "fuser", "selector", "aggregator")
    ]
    assert ACTIONS == ("download", "prepare", "generate", "verify", "score")
    assert {"executor", "observer", "command", "model"} == {*KINDS} - {*SECTIONS.values(), *ACTIONS}
    for kind in KINDS:
        assert Component(**{**GOOD, "kind": kind}).kind == kind


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "selectors"}, "kind 'selectors' must be one of dataset, image_encoder, question_encoder"),
        ({"name": "L2 TopK"}, "name 'L2 TopK' must be lower-case words joined by '-', as in 'l2-topk'"),
        ({"name": "mine-"}, "name 'mine-' must be lower-case words"),
        ({"name": None}, "name None must be lower-case words"),
        ({"target": "a.b.C"}, "target 'a.b.C' must be 'module:Class', as in 'hacore_rn.rn:RN'"),
        ({"target": "a-b:C"}, "target 'a-b:C' must be 'module:Class'"),
        ({"config": dict}, "config <class 'dict'> must be an attrs class"),
        ({"config": Config()}, "must be an attrs class"),
        ({"config": NoHelp}, "config field NoHelp.k needs a default and a help text; declare it with"),
        ({"config": NoDefault}, "config field NoDefault.k needs a default and a help text"),
        ({"config": Use}, "config field Use.use: a spec's 'use' names the component"),
        ({"config": NoSuchType}, "config NoSuchType has a type that cannot be found: name 'Missing'"),
    ],
)
def test_a_declaration_is_checked_when_it_is_made(changed, message):
    with pytest.raises(ValueError, match=r".") as error:
        Component(**{**GOOD, **changed})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"argument": "root"}, "argument 'root' is not a field of config Config"),
        ({"kind": "selector"}, "argument 'k': only download, prepare, generate, verify, score take one"),
        ({"target": "a.b"}, "target 'a.b' must be 'module:Class'"),
        ({"config": NoHelp}, "config field NoHelp.k needs a default and a help text"),
        ({"default": True}, "only an observer can be on by default, not a verify"),
    ],
)
def test_a_data_tool_is_checked_when_it_is_made(changed, message):
    good = {**GOOD, "kind": "verify", "argument": "k"}
    assert Component(**good).argument == "k"
    with pytest.raises(ValueError, match=r".") as error:
        Component(**{**good, **changed})
    assert message in str(error.value)


def test_options_are_not_needed():
    declared = Component(**{key: value for key, value in GOOD.items() if key != "config"})
    assert attrs.fields(declared.config) == ()


def test_options_say_whether_they_need_training():
    @attrs.frozen
    class Mixed:
        width: int = option(8, "of a layer")
        k: int = option(3, "cells to keep", live=True)

    assert live_options(Mixed) == ("k",)
    assert live_options(Config) == ()


@pytest.mark.parametrize(
    ("bounds", "good", "bad", "message"),
    [
        ({"min": 1}, (1, 7), (0, -3), "at least 1"),
        ({"max": 5}, (5, -7), (6,), "at most 5"),
        ({"above": 0}, (0.1,), (0, -1e-9), "above 0"),
        ({"below": 1}, (0.99,), (1, 2), "below 1"),
        ({"min": 0, "below": 1}, (0, 0.5), (1,), "below 1"),
    ],
)
def test_ranges_hold_for_values_and_for_items(bounds, good, bad, message):
    config = attrs.make_class("Made", {"x": option(good[0], "a number", **bounds)}, frozen=True)
    for value in (*good, None, good, ()):
        assert config(value).x == value
    for value in bad:
        for wrong in (value, (good[0], value)):
            with pytest.raises(ValueError, match=f"{value} is out of range; it must be {message}"):
                config(wrong)


def test_numbers_are_finite_and_own_checks_are_asked():
    config = attrs.make_class(
        "Made", {"x": option(2.0, "even", check=lambda x: None if x % 2 == 0 else f"{x} is odd")}
    )
    for value in (float("inf"), float("-inf"), float("nan")):
        with pytest.raises(ValueError, match=r"is out of range; it must be finite"):
            config(value)
    assert config(None).x is None
    with pytest.raises(ValueError, match=r"^3 is odd$"):
        config(3)


@pytest.mark.parametrize("key", ["question_encoder.layers", "train.epochs", "seed", "train.steps"])
def test_numbers_that_no_machine_counts_to_are_refused_at_once(request, names, key):
    spec = request.config.rootpath / "experiments" / "han_rn.toml"
    with pytest.raises(SpecError) as caught:
        load_spec(spec, [f"{key}={10**350}"])
    names(str(caught.value), key)


@pytest.mark.parametrize(
    ("words", "most"), [("question_encoder.layers=101", "100"), ("train.epochs=1e308", "1000000")]
)
def test_counts_have_a_bound(request, names, words, most):
    with pytest.raises(SpecError) as caught:
        load_spec(request.config.rootpath / "experiments" / "han_rn.toml", [words])
    names(str(caught.value), words.partition("=")[0], "at most", most)
