"""The tests of every kind: the declaration, the config, and the class."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from typing import Any, ClassVar

import attrs
import toml

from hacore.errors import PluginError
from hacore.interfaces import Sizes
from hacore.plugin import GROUP
from hacore.registry import Installed, registry
from hacore.spec import structure_config, unstructure_config
from hacore_testing._checks import fail, require

SIZES = Sizes(
    image=(3, 48, 64),
    image_mean=(0.45, 0.5, 0.55),
    image_std=(0.2, 0.25, 0.3),
    words=20,
    answers=7,
    grid=(4, 6),
    cell_channels=12,
    question_channels=10,
    word_channels=9,
)
"""What components are tested with unless told otherwise; nothing is square, no two numbers agree."""

TOLERANCE = 1e-6

# Run in a process of its own; the finder stops at the first import of torch and says who asked.
_DECLARE = """
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            frame = sys._getframe(1)
            while "importlib" in frame.f_code.co_filename:
                frame = frame.f_back
            sys.exit(f"line {frame.f_lineno} of {frame.f_globals.get('__name__')}")
sys.meta_path.insert(0, Refuse())
list(importlib.import_module(sys.argv[1]).hacore_declare())
"""


class Contract:
    """What every component promises. ``contract`` fills in the class attributes."""

    kind: ClassVar[str]
    name: ClassVar[str]
    options: ClassVar[dict[str, Any]]
    sizes: ClassVar[Sizes]
    tolerance: ClassVar[float]

    @classmethod
    def installed(cls) -> Installed:
        """The component, found as a spec finds it."""
        return registry().find(cls.kind, cls.name)

    @classmethod
    def component_class(cls) -> type[Any]:
        """The class the declaration names."""
        try:
            loaded: type[Any] = cls.installed().load()
        except PluginError as error:
            fail(str(error))
        return loaded

    @classmethod
    def config(cls) -> Any:
        """The config made from ``options``."""
        return structure_config(cls.installed().declared.config, cls.options)

    def test_declaration(self) -> None:
        """The component is declared under its kind and name, with a summary of one line."""
        component = self.installed().declared
        require(
            (component.kind, component.name) == (self.kind, self.name),
            f"declared as {component.kind} '{component.name}', asked for {self.kind} '{self.name}'",
        )
        summary = component.summary.strip()
        require(summary, "the summary is empty; say in one line what the component does")
        require("\n" not in summary, f"the summary must be one line, found {summary!r}")

    def test_options_are_documented(self) -> None:
        """Every option has a type, a default and one line of help."""
        config = self.installed().declared.config
        for field in attrs.fields(attrs.resolve_types(config)):
            require(field.type is not None, f"option {field.name} has no type annotation")
            require(
                field.default is not attrs.NOTHING,
                f"option {field.name} has no default; use option(default, help)",
            )
            help = str(field.metadata.get("help", "")).strip()
            require(help and "\n" not in help, f"option {field.name} needs a help text of one line")

    def test_class_is_of_its_kind(self) -> None:
        """The target loads and is a class of the kind it is declared as."""
        cls = self.component_class()  # which says itself when it is not
        left = sorted(getattr(cls, "__abstractmethods__", ()))
        require(not left, f"{cls.__name__} lacks the method {', '.join(left)}")

    def test_config_survives_a_spec(self) -> None:
        """Defaults and given options, written as TOML and read back, are the same config."""
        for config in (structure_config(self.installed().declared.config, {}), self.config()):
            text = toml.dumps(unstructure_config(config))
            read = structure_config(type(config), tomllib.loads(text))
            require(read == config, f"a config written to TOML reads back as {read}, it was {config}")

    def test_declaring_imports_no_torch(self) -> None:
        """The module that declares the component loads without torch, so that ``hacore --help`` is quick."""
        installed = self.installed()
        modules = [
            entry_point.module
            for entry_point in entry_points(group=GROUP)
            if entry_point.dist and entry_point.dist.name == installed.distribution
        ]
        require(modules, f"{installed.distribution} has no entry point in the group '{GROUP}'")
        for module in modules:
            ran = subprocess.run(
                [sys.executable, "-P", "-c", _DECLARE, module],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                capture_output=True,
                encoding="utf-8",
                errors="replace",
            )
            if ran.returncode:
                cause = ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else "it exits"
                fail(
                    f"importing {module}, which declares the component, imports torch ({cause}); "
                    "import it in the module that 'target' names"
                    if cause.startswith("line ")
                    else f"importing {module} in a new process fails: {cause}"
                )
