"""The catalogue is what the plugins declare, and every plugin is whole."""

import ast
import importlib
import re
import sys
import tomllib
from pathlib import Path

import attrs
import pytest

from hacore.plugin import ACTIONS, KINDS, SECTIONS
from hacore.registry import catalogue, registry, required_libraries
from hacore.spec import EvalConfig, FeaturesConfig, HeadConfig, TrainConfig

PLUGINS = Path(__file__).parents[2] / "plugins"
FOLDERS = sorted(path.parent for path in PLUGINS.glob("*/pyproject.toml"))

LIBRARIES = (
    "hacore-ask",
    "hacore-attention",
    "hacore-folder",
    "hacore-packing",
    "hacore-resnet",
    "hacore-sweep",
    "hacore-testing",
)
"""Packages that others of this project require."""
WITHOUT_COMPONENTS = ("hacore-attention", "hacore-testing")
OTHERWISE_NAMED = {"PIL": "pillow", "mlflow": "mlflow-skinny"}
"""{module: distribution} where the names differ."""

each_plugin = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared(folder):
    """What a plugin folder declares, whether it is installed or not."""
    sys.path.insert(0, str(folder))
    points = project(folder).get("entry-points", {}).get("hacore", {})
    try:
        modules = [importlib.import_module(name) for name in points.values()]
    finally:
        sys.path.remove(str(folder))
    return [component for module in modules for component in module.hacore_declare()]


def chosen(folder):
    """What a spec can choose of it."""
    return [component for component in declared(folder) if component.kind in SECTIONS.values()]


def test_the_catalogue_is_what_the_plugins_declare():
    names_by_kind = {}
    for folder in FOLDERS:
        for component in declared(folder):
            if component.kind not in ACTIONS or component.kind == "score":
                names_by_kind.setdefault(component.kind, {})[component.name] = project(folder)["name"]
    assert names_by_kind == catalogue()


def test_the_libraries_that_packages_require_are_listed():
    """So that ``hacore needs`` names all that pip has to be given where there is no index."""

    def required(name):
        words = [requirement.partition("~=")[0] for requirement in project(PLUGINS / name)["dependencies"]]
        libraries = [word for word in words if word in LIBRARIES]
        return {*libraries}.union(*map(required, libraries))

    libraries = {folder.name: required(folder.name) for folder in FOLDERS}
    assert {name: {*required_libraries(name)} for name in libraries} == libraries
    # pip takes them in any order; a reader sees each after what it needs.
    assert required_libraries("hacore-serve") == ["hacore-packing", "hacore-folder", "hacore-ask"]


@each_plugin
def test_a_plugin_folder_is_whole(folder):
    about = project(folder)
    module = folder.name.replace("-", "_")
    assert about["name"] == folder.name
    assert len((folder / "README.md").read_text(encoding="utf-8").splitlines()) >= 8
    assert list(folder.glob("tests/test_*.py"))
    points = about.get("entry-points", {}).get("hacore", {})
    assert [*points.values()] == ([] if folder.name in WITHOUT_COMPONENTS else [module])
    assert (folder / module / "__init__.py").is_file()
    assert (folder / module / "py.typed").is_file()
    assert about["description"]
    assert about["license"] == "Apache-2.0"


@each_plugin
def test_a_package_requires_what_it_imports(folder):
    required = {re.split(r"[^\w-]", words)[0]: words for words in project(folder)["dependencies"]}
    module = folder.name.replace("-", "_")
    used = set()
    for file in (folder / module).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                used.add(node.module)
    tops = {name.partition(".")[0] for name in used} - sys.stdlib_module_names - {module}
    missing = {OTHERWISE_NAMED.get(top, top.replace("_", "-")) for top in tops} - required.keys()
    assert missing == set()
    for name, words in required.items():
        if name.partition("-")[0] == "hacore":  # one of ours
            assert words == f"{name}~=0.1.0"


@each_plugin
def test_the_readme_names_every_component_and_how_to_install_it(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^ +pip install -e \. (.* )?-e plugins/{folder.name}(\[test\])?$", text, re.MULTILINE)
    for component in declared(folder):
        if component.kind in SECTIONS.values():
            assert re.search(rf'[`"]{component.name}[`"]', text), component.name
        if component.kind == "executor":
            assert f"--on {component.name}" in text
        if component.kind == "command":
            assert re.search(rf"^ +hacore {component.name} ", text, re.MULTILINE)
        if component.kind == "observer" and not component.default:
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
