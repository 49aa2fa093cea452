"""What every kind's contract checks, and how a contract is turned on."""

import sys
import types

import attrs
import pytest

from hacore.errors import PluginError
from hacore.interfaces import Fuser, Selector
from hacore.plugin import Component, option
from hacore.registry import Installed, Registry
from hacore.testing import Sizes, contract


@attrs.frozen(kw_only=True)
class Config:
    k: int = option(3, "cells", min=1)
    names: tuple[str, ...] = option(("a",), "names")
    limit: float | None = option(None, "a limit")


def turned_on(config=Config, kind="selector", summary="for a test", cls=Selector, **options):
    component = Component(kind=kind, name="mine", target="here:It", config=config, summary=summary)

    sys.modules["here"] = types.SimpleNamespace(It=cls)
    tests = contract("selector", "mine", **options)
    tests.installed = staticmethod(lambda: Installed(declared=component, distribution="here", version="1"))
    return tests()


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    sys.modules.pop("here", None)


def failure(test):
    with pytest.raises(pytest.fail.Exception) as caught:
        test()
    assert "\n" not in caught.value.msg
    return caught.value.msg


def test_unknown_kind():
    with pytest.raises(ValueError, match="unknown kind 'selectors'; did you mean 'selector'"):
        contract("selectors", "l2-topk")


def test_settings_are_kept():
    sizes = Sizes(image=(3, 8, 8), words=4, answers=2)
    tests = contract("selector", "l2-topk", sizes=sizes, tolerance=1e-3, k=5)
    assert tests.__name__ == "L2TopkContract"
    assert (tests.sizes, tests.tolerance, tests.options) == (sizes, 1e-3, {"k": 5})


def test_a_contract_of_what_is_not_installed_fails_and_says_so(monkeypatch):
    monkeypatch.setattr("hacore_testing._base.registry", lambda: Registry([]))
    with pytest.raises(PluginError, match=r"is not installed; .*: pip install -e .*plugins/hacore-l2-topk$"):
        contract("selector", "l2-topk")().test_declaration()


def test_config_survives():
    turned_on(names=["x", "y"], limit=0.5).test_config_survives_a_spec()


def test_config_that_does_not_survive():
    @attrs.frozen(kw_only=True)
    class Hidden:
        names: tuple[str, ...] = option((), "names")

        def __attrs_post_init__(self):
            object.__setattr__(self, "names", (*self.names, "more"))

    assert "a config written to TOML reads back as" in failure(turned_on(Hidden).test_config_survives_a_spec)


def test_declaration_of_another_kind():
    tests = turned_on(kind="aggregator")
    assert failure(tests.test_declaration) == "declared as aggregator 'mine', asked for selector 'mine'"


@pytest.mark.parametrize(("summary", "words"), [(" ", "is empty"), ("one\ntwo", "must be one line")])
def test_summary(summary, words):
    assert words in failure(turned_on(summary=summary).test_declaration)


def test_help_of_two_lines():
    @attrs.frozen(kw_only=True)
    class TwoLines:
        k: int = option(1, "one\ntwo")

    assert "option k needs a help text of one line" in failure(
        turned_on(TwoLines).test_options_are_documented
    )


def test_option_without_a_type():
    untyped = attrs.make_class("Untyped", {"k": option(1, "a number")}, kw_only=True, frozen=True)
    assert failure(turned_on(untyped).test_options_are_documented) == "option k has no type annotation"


def test_class_of_another_kind():
    text = failure(turned_on(cls=Fuser).test_class_is_of_its_kind)
    assert "selector 'mine'" in text
    assert "not a subclass of hacore.interfaces.Selector" in text


def test_class_without_forward():
    assert failure(turned_on().test_class_is_of_its_kind) == "Selector lacks the method forward"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", None),
        ("import hacore.interfaces", "imports torch (line "),
        ("\nimport torch", "imports torch (line 2 of declares_it)"),
        ("import no_such_module", "fails: ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_declaring_imports_no_torch(tmp_path, monkeypatch, source, words):
    (tmp_path / "declares_it.py").write_text(source + "\ndef hacore_declare():\n    return []\n")
    info = tmp_path / "here-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: here\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[hacore]\nit = declares_it\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    if words is None:
        turned_on().test_declaring_imports_no_torch()
    else:
        assert words in failure(turned_on().test_declaring_imports_no_torch)


def test_declared_without_an_entry_point():
    assert "here has no entry point" in failure(turned_on().test_declaring_imports_no_torch)
