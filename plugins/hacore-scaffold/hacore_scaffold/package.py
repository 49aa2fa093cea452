"""The package that ``hacore new`` writes. Imports no torch.

The templates are ``string.Template`` texts under ``templates/``: ``common/`` for every kind, and a
folder for each kind with the declaration, the component and its test.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from hacore.errors import HacoreError, did_you_mean
from hacore.plugin import KINDS, SECTIONS
from hacore.registry import catalogue, registry

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

# Names that the templates use themselves; a component called "cells" needs another class name.
_TAKEN = {
    *("Aggregator", "Cells", "Component", "Config", "Dataset", "Fuser", "ImageEncoder"),
    *("Question", "QuestionEncoder", "Questions", "Selection", "Selector", "Sizes", "Tensor"),
    *("None", "True", "False"),
}


_LIBRARIES = ("hacore", "attrs>=23.2", "numpy>=1.26", "torch>=2.8")
_MORE = {"dataset": ("pillow>=10.1",)}  # that the template of a kind needs besides


def new_plugin(kind: str, name: str, output: Path) -> Path:
    """Write a package for a component of that kind and name; returns its folder.

    The package ``hacore-NAME`` in ``output`` can be installed and passes its tests. It appears whole
    or not at all. Raises HacoreError for an unknown kind, a name that cannot be used or is taken, and
    a folder that exists.
    """
    kinds = [*SECTIONS.values()]
    if kind not in kinds:
        raise HacoreError(f"unknown kind '{kind}'{did_you_mean(kind, kinds)}; allowed: {', '.join(kinds)}")
    _check_name(kind, name)
    folder = output / f"hacore-{name}"
    if folder.exists() or folder.is_symlink():
        raise HacoreError(f"{folder} exists already; choose another name or another --output")
    texts = _render(kind, name)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".hacore-new-", dir=output) as temporary:
            draft = Path(temporary) / folder.name
            for path, text in texts.items():
                file = draft / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            draft.rename(folder)
    except OSError as error:
        raise HacoreError(f"cannot write {folder}: {error.strerror or error}") from error
    return folder


def _check_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
        better = re.sub(r"[^a-z0-9]+", "-", words).strip("-")
        hint = f"; try '{better}'" if better else ""
        raise HacoreError(f"name '{name}' must be lower-case words joined by '-', as in 'l2-topk'{hint}")
    if name.startswith("hacore-"):
        raise HacoreError(
            f"name '{name}' must not begin with 'hacore-', which the package adds; "
            f"try '{name.removeprefix('hacore-')}'"
        )
    label = KINDS[kind].words
    providers = {component.name: component.distribution for component in registry().of(kind)}
    providers.update(catalogue().get(kind, {}))
    if name in providers:
        raise HacoreError(f"{label} '{name}' exists already, in {providers[name]}; choose another name")
    distributions = {distribution for names in catalogue().values() for distribution in names.values()}
    distributions |= {component.distribution for component in registry().of(*KINDS)}
    if f"hacore-{name}" in distributions:
        raise HacoreError(f"a package hacore-{name} exists already; choose another name")


def _render(kind: str, name: str) -> dict[str, str]:
    """{path in the package folder: text}."""
    package = f"hacore_{name.replace('-', '_')}"
    class_name = "".join(word.title() for word in name.split("-"))
    if class_name in _TAKEN or class_name[0].isdigit():
        class_name = f"My{class_name}"
    fields = {
        "name": name,
        "distribution": f"hacore-{name}",
        "package": package,
        "class_name": class_name,
        "label": KINDS[kind].words,
        "kind": kind,
        "section": KINDS[kind].place,
        "libraries": ", ".join(f'"{library}"' for library in (*_LIBRARIES, *_MORE.get(kind, ()))),
    }
    # The README shows the kind's own options, which its template folder keeps next to the code.
    fields["summary"] = _text(kind, "summary.txt", fields).strip()
    fields["options"] = _text(kind, "options.txt", fields).strip()
    return {
        "pyproject.toml": _text("common", "pyproject.toml", fields),
        "README.md": _text("common", "README.md", fields),
        f"{package}/__init__.py": _text(kind, "__init__.py", fields),
        f"{package}/{kind}.py": _text(kind, f"{kind}.py", fields),
        f"tests/test_{package.removeprefix('hacore_')}.py": _text(kind, "test.py", fields),
    }


def _text(folder: str, file: str, fields: Mapping[str, str]) -> str:
    template = files("hacore_scaffold").joinpath("templates", folder, f"{file}.tmpl")
    return Template(template.read_text(encoding="utf-8")).substitute(fields)
