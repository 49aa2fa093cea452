"""The catalogue is what the plugins declare, and every plugin is whole."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import attrs
import pytest

from hacore.registry import catalogue, registry
from hacore.spec import EvalConfig, FeaturesConfig, HeadConfig, TrainConfig

PLUGINS = Path(__file__).parents[1] / "plugins"
FOLDERS = sorted(path.parent for path in PLUGINS.glob("*/pyproject.toml"))

each_plugin = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared(folder, what="components"):
    """The components, or the data tools, of a plugin folder, whether it is installed or not."""
    sys.path.insert(0, str(folder))
    try:
        modules = [
            importlib.import_module(name) for name in project(folder)["entry-points"]["hacore"].values()
        ]
    finally:
        sys.path.remove(str(folder))
    hooks = [getattr(module, f"hacore_{what}", list) for module in modules]
    return [it for hook in hooks for it in hook()]


def test_the_catalogue_is_what_the_plugins_declare():
    found = {}
    for folder in FOLDERS:
        for component in declared(folder):
            found.setdefault(component.kind, {})[component.name] = project(folder)["name"]
        for tool in declared(folder, "data_tools"):
            if tool.action == "score":
                found.setdefault("score", {})[tool.name] = project(folder)["name"]
        for executor in declared(folder, "executors"):
            found.setdefault("executor", {})[executor.name] = project(folder)["name"]
        for command in declared(folder, "commands"):
            found.setdefault("command", {})[command.name] = project(folder)["name"]
        for logger in declared(folder, "loggers"):
            found.setdefault("logger", {})[logger.name] = project(folder)["name"]
    assert found == catalogue()


@each_plugin
def test_a_plugin_folder_is_whole(folder):
    held = project(folder)
    assert held["name"] == folder.name
    assert len((folder / "README.md").read_text(encoding="utf-8").splitlines()) >= 8
    assert list(folder.glob("tests/test_*.py"))
    (module,) = held["entry-points"]["hacore"].values()
    assert module == folder.name.replace("-", "_")
    assert (folder / module / "__init__.py").is_file()
    assert "hacore" in held["dependencies"]
    assert held["description"]
    assert held["license"] == "Apache-2.0"


@each_plugin
def test_the_readme_names_every_component_and_how_to_install_it(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^ +pip install (.* )?{folder.name}$", text, re.MULTILINE)
    for component in declared(folder):
        assert re.search(rf'[`"]{component.name}[`"]', text), component.name
    for executor in declared(folder, "executors"):
        assert f"--on {executor.name}" in text
    for command in declared(folder, "commands"):
        assert re.search(rf"^ +hacore {command.name} ", text, re.MULTILINE)
    for logger in declared(folder, "loggers"):
        assert f"--log {logger.name}" in text
    if declared(folder):
        assert 'use = "' in text, "give an example in TOML"


def test_test_files_have_names_of_their_own():
    names = [path.name for path in PLUGINS.glob("*/tests/test_*.py")]
    assert len(names) == len(set(names))


def test_every_plugin_here_is_installed_and_found_by_the_common_door():
    held = {(it.kind, it.name): it.distribution for it in registry().components()}
    held |= {("score", it.name): it.distribution for it in registry().tools("score")}
    held |= {("executor", it.name): it.distribution for it in registry().executors()}
    held |= {("command", it.name): it.distribution for it in registry().commands()}
    held |= {("logger", it.name): it.distribution for it in registry().loggers()}
    for kind, names in catalogue().items():
        for name, distribution in names.items():
            assert held.get((kind, name)) == distribution
    assert registry().problems() == []


@pytest.mark.parametrize(
    "config",
    [it.declared.config for it in registry().components()]
    + [FeaturesConfig, HeadConfig, TrainConfig, EvalConfig],
    ids=lambda cls: f"{cls.__module__}.{cls.__name__}",
)
def test_every_option_has_a_line_of_help_and_a_default_that_is_allowed(config):
    config()
    for field in attrs.fields(config):
        text = field.metadata["help"]
        assert text.strip() == text
        assert "\n" not in text
        assert len(text) > 8, field.name
    for other in (config(), attrs.evolve(config())):
        assert other == config()


def test_every_component_has_a_one_line_summary_and_loads():
    for it in registry().components():
        assert "\n" not in it.declared.summary
        assert 10 < len(it.declared.summary) < 100, it.name
        assert it.load().__doc__
