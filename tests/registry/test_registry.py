"""Finding plugins: what one of them does wrong is told, and stops nobody else."""

import subprocess
import sys

import attrs
import pytest

from hacore.errors import PluginError, did_you_mean
from hacore.plugin import KINDS, SECTIONS
from hacore.registry import CORE, Registry, catalogue, registry

GOOD = """
import attrs
from hacore.plugin import Component, hookimpl, option

@attrs.frozen(kw_only=True)
class Config:
    k: int = option(3, "cells to keep", min=1)

@hookimpl
def hacore_declare():
    return [Component(kind="selector", name="{name}", target="{module}_part:It", config=Config,
                      summary="for a test")]
"""


SELECTOR = "from hacore.interfaces import Selector\nclass It(Selector): pass\n"


@pytest.fixture
def good(install):
    """good(module, name, part) installs a plugin with a selector; part is the source of its class."""

    def run(module, name, part=SELECTOR):
        return install(module, GOOD.format(name=name, module=module), **{f"{module}_part": part})

    return run


def test_a_plugin_is_found_with_its_distribution_and_version(good):
    good("fake_one", "mine")
    component = registry().find("selector", "mine")
    assert (component.distribution, component.version) == ("fake-one", "1.0")
    assert component.load().__name__ == "It"
    assert "mine" in [component.name for component in registry().of("selector")]
    assert registry().problems() == []


def test_components_come_by_kind_and_name():
    order = [*SECTIONS.values()]
    keys = [(order.index(component.kind), component.name) for component in registry().of(*order)]
    assert keys == sorted(keys)
    assert keys


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise RuntimeError('no\\nluck')", ["RuntimeError: no luck"]),
        ("import not_there_at_all", ["ModuleNotFoundError: No module named 'not_there_at_all'"]),
        ("def broken(:", ["SyntaxError: invalid syntax"]),
        (
            "from hacore.plugin import hookimpl\n@hookimpl\ndef hacore_declare():\n    return 1 / 0\n",
            ["ZeroDivisionError: division by zero"],
        ),
        (
            "from hacore.plugin import hookimpl\n@hookimpl\ndef hacore_declare():\n    return ['rn']\n",
            ["'rn'", "hacore.plugin.Component"],
        ),
        (
            "from hacore.plugin import hookimpl\n@hookimpl\ndef hacore_declares():\n    return []\n",
            ["'hacore_declares'", "'hacore_declare'"],
        ),
        (
            "def hacore_declare():\n    return []\n",
            ["'hacore_declare'", "hacore.plugin.hookimpl"],
        ),
        (
            "from hacore.plugin import hookimpl\n@hookimpl\ndef hacore_declare(kind):\n    return []\n",
            ["PluginValidationError:"],
        ),
        (
            GOOD.format(name="Not A Name", module="x"),
            ["'Not A Name'", "lower-case words joined by '-'", "'l2-topk'"],
        ),
    ],
    ids=lambda value: value[0].split(":")[0] if isinstance(value, list) else "",
)
def test_a_broken_plugin_is_named_and_does_not_stop_the_others(install, good, names, source, cause):
    install("fake_broken", source)
    good("fake_one", "mine")
    assert registry().find("selector", "mine").distribution == "fake-one"
    (problem,) = registry().problems()
    names(problem, "plugin 'fake-broken'", "does not load", *cause)
    # It is not silent when something is missing that might have been in it.
    with pytest.raises(PluginError) as error:
        registry().find("selector", "not-mine")
    assert str(error.value).endswith(f"; {problem}")


def test_a_published_component_of_a_broken_plugin_says_why_and_not_what_to_install(names):
    @attrs.frozen
    class Point:
        name: str = "rn"
        value: str = "hacore_rn"
        dist: object = attrs.make_class("Dist", ["name", "version"])("hacore-rn", "1.0")

        def load(self):
            raise ImportError("libnothing.so")

    with pytest.raises(PluginError) as error:
        Registry([Point()]).find("aggregator", "rn")
    names(str(error.value), "aggregator 'rn'", "hacore-rn", "does not load", "ImportError: libnothing.so")
    assert "pip install" not in str(error.value)


def test_a_name_declared_twice_names_both_distributions(good, names):
    good("fake_one", "mine")
    good("fake_two", "mine")
    good("fake_three", "other")
    with pytest.raises(PluginError) as error:
        registry().find("selector", "mine")
    names(str(error.value), "selector 'mine'", "fake-one", "fake-two", "uninstall all but one")
    assert registry().problems() == [str(error.value)]
    assert "mine" not in [component.name for component in registry().of("selector")]
    assert registry().find("selector", "other").distribution == "fake-three"


TOOL = """
@hookimpl
def hacore_declare():
    return [Component(kind="verify", name="{name}", target="{module}_part:it", config=Config,
                      summary="looks")]
"""


def test_data_tools_are_found_and_two_of_one_name_are_an_error(install, names):
    for module in ("fake_one", "fake_two"):
        part = "def it(config, tell): return 7\n"
        source = (GOOD + TOOL).format(name=module.replace("_", "-"), module=module)
        install(module, source, **{f"{module}_part": part})
    assert "fake-one" in [component.name for component in registry().of("verify")]
    assert registry().find("verify", "fake-two").load()(None, None) == 7
    install("fake_three", (GOOD + TOOL).format(name="fake-one", module="x"))
    with pytest.raises(PluginError) as error:
        registry().find("verify", "fake-one")
    names(str(error.value), "'data verify fake-one'", "fake-one", "fake-three", "uninstall all but one")
    assert registry().problems() == [str(error.value)]


EARLIER = """
from hacore.plugin import hookimpl

@hookimpl
def {hook}():
    return []
"""


@pytest.mark.parametrize(
    ("source", "contract"),
    [
        *((EARLIER.format(hook=hook), 1) for hook in ("hacore_components", "hacore_loggers")),
        ("hacore_contract = 3\n" + EARLIER.format(hook="hacore_declare"), 3),
        ("hacore_contract = 'two'\n" + EARLIER.format(hook="hacore_declare"), "'two'"),
    ],
)
def test_a_plugin_for_another_contract_is_refused_with_the_way_out(install, good, source, contract):
    install("fake_old", source)
    good("fake_one", "mine")
    (problem,) = registry().problems()
    assert "fake-old" in problem
    assert f"made for contract {contract} " in problem
    assert "this is contract 2" in problem
    assert "docs/contracts.md" in problem
    assert registry().find("selector", "mine").distribution == "fake-one"


def test_a_plugin_that_names_its_contract_is_found(install):
    install("fake_one", "hacore_contract = 2\n" + GOOD.format(name="mine", module="fake_one"))
    assert registry().find("selector", "mine").distribution == "fake-one"
    assert registry().problems() == []


def test_what_is_hacores_own_stays_so(install):
    source = GOOD.format(name="run", module="x").replace('kind="selector"', 'kind="command"')
    install("fake_one", source)
    (problem,) = registry().problems()
    assert "command 'run' is hacore's own" in problem
    assert registry().find("command", "run").distribution == CORE


def test_the_core_declares_by_the_same_door():
    own = [component for component in registry().of(*KINDS) if component.distribution == CORE]
    assert {component.kind for component in own} == {"command"}
    names = [component.name for component in registry().of("command")]
    assert names[:3] == ["run", "eval", "check"]  # as declared; those of plugins follow by name
    assert all(component.load() for component in own)


@pytest.mark.parametrize(
    ("kind", "base"),
    [("selector", "hacore.interfaces.Selector"), ("observer", "hacore.observers.RunObserver")],
)
def test_a_class_of_another_kind_is_refused_when_it_is_loaded(install, kind, base):
    source = GOOD.format(name="mine", module="fake_one").replace('kind="selector"', f'kind="{kind}"')
    install("fake_one", source, fake_one_part="class It: pass\n")
    with pytest.raises(PluginError, match="not a subclass of") as error:
        registry().find(kind, "mine").load()
    assert f"{kind} 'mine'" in str(error.value)
    assert base in str(error.value)


@pytest.mark.parametrize(
    ("part", "cause"),
    [
        ("raise OSError('disk')", "OSError: disk"),
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("class Other: pass", "AttributeError: module 'fake_one_part' has no attribute 'It'"),
    ],
)
def test_a_component_that_does_not_load_is_an_error_when_it_is_used(good, names, part, cause):
    good("fake_one", "mine", part)
    component = registry().find("selector", "mine")
    assert registry().problems() == []
    with pytest.raises(PluginError) as error:
        component.load()
    names(str(error.value), "selector 'mine'", "fake-one 1.0", "fake_one_part:It", cause)
    names(str(error.value), "install it again from where it came")


def test_what_is_not_there(uninstall, names):
    uninstall("hacore-l2-topk")
    for kind, name, *parts in [
        (
            "selector",
            "l2-topk",
            "selector 'l2-topk'",
            "not installed",
            "pip install -e plugins/hacore-l2-topk",
        ),
        ("selector", "l2-topkk", "selector 'l2-topkk'", "'l2-topk'", "installed:"),
        ("image_encoder", "zzz", "image encoder 'zzz'", "installed:"),
        ("aggregator", "l2-topk", "aggregator 'l2-topk'", "'l2-topk' is a selector", "installed:"),
        ("aggregator", "resnet", "aggregator 'resnet'"),
    ]:
        with pytest.raises(PluginError) as error:
            registry().find(kind, name)
        names(str(error.value), *parts)


def test_did_you_mean():
    assert did_you_mean("selektor", KINDS) == "; did you mean 'selector'?"
    assert did_you_mean("zzzzz", KINDS) == ""


def test_the_catalogue_has_every_kind():
    assert set(catalogue()) == {*SECTIONS.values(), "command", "executor", "model", "observer", "score"}
    assert set(catalogue()) < set(KINDS)


def test_finding_every_plugin_imports_no_torch():
    code = (
        "import sys; from hacore.registry import registry; from hacore.plugin import KINDS; "
        "found = registry(); print(len(found.of(*KINDS)), found.problems()); sys.exit('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{len(registry().of(*KINDS))} []\n"
