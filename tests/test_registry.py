"""Finding plugins: what one of them does wrong is told, and stops nobody else."""

import subprocess
import sys

import attrs
import pytest

from hacore.errors import PluginError
from hacore.plugin import KINDS
from hacore.registry import Registry, catalogue, did_you_mean, registry

GOOD = """
import attrs
from hacore.plugin import Component, hookimpl, option

@attrs.frozen(kw_only=True)
class Config:
    k: int = option(3, "cells to keep", min=1)

@hookimpl
def hacore_components():
    return [Component(kind="selector", name="{name}", target="{module}_part:It", config=Config,
                      summary="for a test")]
"""


@pytest.fixture
def good(install):
    """good(module, name, part) installs a plugin with a selector; part is the source of its class."""

    def run(module, name, part="class It: pass\n"):
        return install(module, GOOD.format(name=name, module=module), **{f"{module}_part": part})

    return run


def test_a_plugin_is_found_with_its_distribution_and_version(good):
    good("fake_one", "mine")
    it = registry().find("selector", "mine")
    assert (it.distribution, it.version) == ("fake-one", "1.0")
    assert it.load().__name__ == "It"
    assert "mine" in [it.name for it in registry().components("selector")]
    assert registry().problems() == []


def test_components_come_by_kind_and_name():
    keys = [(KINDS.index(it.kind), it.name) for it in registry().components()]
    assert keys == sorted(keys)
    assert keys


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise RuntimeError('no\\nluck')", "RuntimeError: no luck"),
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        (
            "from hacore.plugin import hookimpl\n@hookimpl\ndef hacore_components():\n    return 1 / 0\n",
            "ZeroDivisionError: division by zero",
        ),
        (
            "from hacore.plugin import hookimpl\n@hookimpl\ndef hacore_components():\n    return ['rn']\n",
            "hacore_components gave 'rn', not a hacore.plugin.Component",
        ),
        (
            "from hacore.plugin import hookimpl\n@hookimpl\ndef hacore_component():\n    return []\n",
            "unknown hook 'hacore_component'; did you mean 'hacore_components'?",
        ),
        (
            "def hacore_components():\n    return []\n",
            "no hook, as 'hacore_components'; mark the function with hacore.plugin.hookimpl",
        ),
        (
            "from hacore.plugin import hookimpl\n@hookimpl\ndef hacore_components(kind):\n    return []\n",
            "PluginValidationError: ",
        ),
        (
            GOOD.format(name="Not A Name", module="x"),
            "ValueError: name 'Not A Name' must be lower-case words joined by '-', as in 'l2-topk'",
        ),
    ],
    ids=lambda text: text.split(":")[0][-30:] if "\n" not in text else "",
)
def test_a_broken_plugin_is_named_and_does_not_stop_the_others(install, good, source, cause):
    install("fake_broken", source)
    good("fake_one", "mine")
    assert registry().find("selector", "mine").distribution == "fake-one"
    (problem,) = registry().problems()
    start = "plugin 'fake-broken' of fake-broken does not load: "
    assert problem.startswith(start + cause)
    assert "\n" not in problem
    # It is not silent when something is missing that might have been in it.
    with pytest.raises(PluginError) as error:
        registry().find("selector", "not-mine")
    assert str(error.value).endswith(f"; {problem}")


def test_a_published_component_of_a_broken_plugin_says_why_and_not_what_to_install():
    @attrs.frozen
    class Point:
        name: str = "rn"
        value: str = "hacore_rn"
        dist: object = attrs.make_class("Dist", ["name", "version"])("hacore-rn", "1.0")

        def load(self):
            raise ImportError("libnothing.so")

    with pytest.raises(PluginError) as error:
        Registry([Point()]).find("aggregator", "rn")
    assert str(error.value) == (
        "aggregator 'rn' cannot be used: plugin 'rn' of hacore-rn does not load: ImportError: libnothing.so"
    )


def test_a_name_declared_twice_names_both_distributions(good):
    good("fake_one", "mine")
    good("fake_two", "mine")
    good("fake_three", "other")
    said = "selector 'mine' is declared by fake-one and fake-two; uninstall all but one of them"
    with pytest.raises(PluginError) as error:
        registry().find("selector", "mine")
    assert str(error.value) == said
    assert registry().problems() == [said]
    assert "mine" not in [it.name for it in registry().components()]
    assert registry().find("selector", "other").distribution == "fake-three"


TOOL = """
from hacore.plugin import DataTool

@hookimpl
def hacore_data_tools():
    return [DataTool(action="verify", name="{name}", target="{module}_part:it", config=Config,
                     summary="looks")]
"""


def test_data_tools_are_found_and_two_of_one_name_are_an_error(install):
    for module in ("fake_one", "fake_two"):
        part = "def it(config, tell): return 7\n"
        source = (GOOD + TOOL).format(name=module.replace("_", "-"), module=module)
        install(module, source, **{f"{module}_part": part})
    assert "fake-one" in [it.name for it in registry().tools("verify")]
    assert registry().find_tool("verify", "fake-two").load()(None, None) == 7
    install(
        "fake_three", GOOD.format(name="m", module="fake_three") + TOOL.format(name="fake-one", module="x")
    )
    said = "'data verify fake-one' is declared by fake-one and fake-three; uninstall all but one of them"
    with pytest.raises(PluginError) as error:
        registry().find_tool("verify", "fake-one")
    assert str(error.value) == said
    assert registry().problems() == [said]


def test_a_tool_that_is_none_is_named(install):
    source = GOOD.format(name="mine", module="x").replace("def hacore_components", "def hacore_data_tools")
    hook = "\n@hookimpl\ndef hacore_components():\n    return []\n"
    install("fake_one", source + hook)
    (problem,) = registry().problems()
    assert "hacore_data_tools gave Component(" in problem
    assert problem.endswith("not a hacore.plugin.DataTool")


@pytest.mark.parametrize(
    ("part", "cause"),
    [
        ("raise OSError('disk')", "OSError: disk"),
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("class Other: pass", "AttributeError: module 'fake_one_part' has no attribute 'It'"),
    ],
)
def test_a_component_that_does_not_load_is_an_error_when_it_is_used(good, part, cause):
    good("fake_one", "mine", part)
    it = registry().find("selector", "mine")
    assert registry().problems() == []
    with pytest.raises(PluginError) as error:
        it.load()
    assert str(error.value) == (
        f"selector 'mine' of fake-one 1.0: cannot load fake_one_part:It: {cause}; "
        "try 'pip install --force-reinstall fake-one'"
    )


def test_what_is_not_there(uninstall):
    uninstall("hacore-l2-topk")
    for kind, name, said in [
        ("selector", "l2-topk", "selector 'l2-topk' is not installed; run 'pip install hacore-l2-topk'"),
        ("selector", "l2-topkk", "unknown selector 'l2-topkk'; did you mean 'l2-topk'?; installed: "),
        ("image_encoder", "zzz", "unknown image encoder 'zzz'; installed: "),
        ("aggregator", "l2-topk", "unknown aggregator 'l2-topk'; 'l2-topk' is a selector; installed: "),
        ("aggregator", "resnet", "unknown aggregator 'resnet'"),
    ]:
        with pytest.raises(PluginError) as error:
            registry().find(kind, name)
        assert str(error.value).startswith(said)


def test_did_you_mean():
    assert did_you_mean("selektor", KINDS) == "; did you mean 'selector'?"
    assert did_you_mean("zzzzz", KINDS) == ""


def test_the_catalogue_has_every_kind():
    assert set(catalogue()) == {*KINDS, "command", "executor", "logger", "score"}


def test_finding_every_plugin_imports_no_torch():
    code = (
        "import sys; from hacore.registry import registry; found = registry(); "
        "print(len(found.components()), found.problems()); sys.exit('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{len(registry().components())} []\n"
