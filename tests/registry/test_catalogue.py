"""The catalogue is what the plugins declare, and every plugin is whole."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import attrs
import pytest

from hacore.plugin import ACTIONS, KINDS, SECTIONS
from hacore.registry import catalogue, registry
from hacore.spec import EvalConfig, FeaturesConfig, HeadConfig, TrainConfig

PLUGINS = Path(__file__).parents[2] / "plugins"
FOLDERS = sorted(path.parent for path in PLUGINS.glob("*/pyproject.toml"))

each_plugin = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def plugin_modules(folder):
    """The modules of its entry points; a package that only serves other plugins has none."""
    return [*project(folder).get("entry-points", {}).get("hacore", {}).values()]


def declared(folder):
    """What a plugin folder declares, whether it is installed or not."""
    sys.path.insert(0, str(folder))
    try:
        modules = [importlib.import_module(name) for name in plugin_modules(folder)]
    finally:
        sys.path.remove(str(folder))
    return [component for module in modules for component in module.hacore_declare()]


def chosen(folder):
    """What a spec can choose of it."""
    return [component for component in declared(folder) if component.kind in SECTIONS.values()]


def test_the_catalogue_is_what_the_plugins_declare():
    components = {}
    for folder in FOLDERS:
        for component in declared(folder):
            if component.kind not in ACTIONS or component.kind == "score":
                components.setdefault(component.kind, {})[component.name] = project(folder)["name"]
    assert components == catalogue()


@each_plugin
def test_a_plugin_folder_is_whole(folder):
    metadata = project(folder)
    assert metadata["name"] == folder.name
    assert len((folder / "README.md").read_text(encoding="utf-8").splitlines()) >= 8
    assert list(folder.glob("tests/test_*.py"))
    module = folder.name.replace("-", "_")
    assert set(plugin_modules(folder)) <= {module}
    assert (folder / module / "__init__.py").is_file()
    assert any(re.match(r"hacore\b(?!-)", name) for name in metadata["dependencies"])
    assert metadata["description"]
    assert metadata["license"] == "Apache-2.0"


@each_plugin
def test_the_readme_names_every_component_and_how_to_install_it(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^ +pip install (.*[ /])?{folder.name}$", text, re.MULTILINE)
    for component in declared(folder):
        if component.kind in SECTIONS.values():
            assert re.search(rf'[`"]{component.name}[`"]', text), component.name
        if component.kind == "executor":
            assert f"--on {component.name}" in text
        if component.kind == "command":
            assert re.search(rf"^ +hacore {component.name} ", text, re.MULTILINE)
        if component.kind == "observer":
            assert f"--log {component.name}" in text
    if chosen(folder):
        assert 'use = "' in text, "give an example in TOML"


def test_test_files_have_names_of_their_own():
    names = [path.name for path in PLUGINS.glob("*/tests/test_*.py")]
    assert len(names) == len(set(names))


def test_every_plugin_here_is_installed_and_found_by_the_common_door():
    distributions = {
        (component.kind, component.name): component.distribution for component in registry().of(*KINDS)
    }
    for kind, names in catalogue().items():
        for name, distribution in names.items():
            assert distributions.get((kind, name)) == distribution
    assert registry().problems() == []


@pytest.mark.parametrize(
    "config",
    [component.declared.config for component in registry().of(*SECTIONS.values())]
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
    for component in registry().of(*SECTIONS.values()):
        assert "\n" not in component.declared.summary
        assert 10 < len(component.declared.summary) < 100, component.name
        assert component.load().__doc__
