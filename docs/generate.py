"""Writes the parts of the documentation that follow from the code.

    python docs/generate.py            # update docs/*.md
    python docs/generate.py --check    # say what is out of date, and fail if anything is

A part stands between ``<!-- generated: NAME ARGUMENTS -->`` and ``<!-- end of generated -->``, and
NAME is a function of ``PARTS`` below.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from hacore.errors import SpecError
from hacore.plugin import KINDS
from hacore.registry import catalogue, registry
from hacore.spec import (
    EvalConfig,
    FeaturesConfig,
    HeadConfig,
    TrainConfig,
    describe_type,
    load_spec,
    load_sweep,
    shown,
)

DOCS = Path(__file__).parent
TABLES: dict[str, type[Any]] = {
    "features": FeaturesConfig,
    "head": HeadConfig,
    "train": TrainConfig,
    "eval": EvalConfig,
}

_PART = re.compile(
    r"(?P<open><!-- generated: (?P<words>[^\n]+?) -->\n).*?(?P<close><!-- end of generated -->)", re.DOTALL
)

# A spec with one mistake of each kind, for the page that shows how they are reported.
_MISTAKEN = """\
name = "han_rn"
data = { use = "sort-of-clevr" }
image_encoder = { use = "small-cnn" }
question_encoder = { use = "lstm", hidden = "128" }
fuser = { use = "multipy" }
selector = { use = "l2-topk", kk = 8 }
aggregator = { use = "rn" }

[train]
epochs = -1
optimizer = "sgd"
"""


# Combinations that do not go together, for the page on sweeps.
_SWEPT = """
[sweep]
seeds = [0, 0]
selector.use = ["l2-topk", "all-cells"]
selector.k = [4, 8]
train.lr = [1e-3, -1e-3]
"""


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def options(config: type[Any]) -> str:
    """The options of a config class."""
    rows = []
    for field in attrs.fields(attrs.resolve_types(config)):
        default = "none" if field.default is None else f"`{shown(field.default)}`"
        rows.append([f"`{field.name}`", describe_type(field.type), default, field.metadata["help"]])
    return table(["option", "type", "default", "meaning"], rows) if rows else "No options."


def section_options(section: str) -> str:
    """The options of ``[features]``, ``[head]``, ``[train]`` or ``[eval]``."""
    return options(TABLES[section])


def component_options(kind: str) -> str:
    """Every published component of a kind with its options."""
    parts = []
    for name, distribution in catalogue().get(kind, {}).items():
        component = registry().find(kind, name).declared
        parts.append(
            f"### `{name}`\n\nFrom `{distribution}`: {component.summary}.\n\n{options(component.config)}"
        )
    return "\n\n".join(parts)


def published() -> str:
    """Every published component that has a name of its own, what it is and which package it is in."""
    rows = []
    for kind in KINDS.values():
        if not kind.base:
            continue
        for name, distribution in catalogue().get(kind.name, {}).items():
            summary = registry().find(kind.name, name).declared.summary
            place = f"{kind.place} {name}" if kind.name == "command" else kind.place
            rows.append([f"`{place}`", f"`{name}`", f"`{distribution}`", summary])
    return table(["where it is chosen", "name", "package", "what it is"], rows)


def kinds() -> str:
    """Every kind of component."""
    rows = []
    for kind in KINDS.values():
        base = f"`{kind.base.replace(':', '.')}`" if kind.base else "a function `(config, tell)`"
        rows.append([f"`{kind.name}`", f"`{kind.place}`", base])
    return table(["kind", "where one is chosen", "what its target is"], rows)


def zoo() -> str:
    """The models of hacore-zoo, and how each was made."""
    from hacore_zoo.shelf import names, read_model

    columns = [
        "model",
        "spec",
        "accuracy %",
        "question only %",
        "majority %",
        "cells kept %",
        "MB",
        "trained",
    ]
    rows = []
    for model in map(read_model, names()):
        result, training = model.result, model.result.training
        shares = [result.accuracy, *(result.baselines[key].accuracy for key in ("question_only", "majority"))]
        spec = " ".join([model.spec, *model.overrides])
        device = model.environment["device_name"]
        made = f"{model.date}, {training.seconds:,.0f} s, {training.precision}, {device}"
        kept = [f"{100 * share:.1f}" for share in (*shares, result.kept)]
        rows.append([f"`zoo/{model.name}`", f"`{spec}`", *kept, f"{model.bytes / 1e6:.1f}", made])
    return table(columns, rows)


def command_help(*command: str) -> str:
    """What a command prints with --help, 80 columns wide."""
    ran = subprocess.run(
        [sys.executable, "-m", "hacore", *command, "--help"],
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return f"```text\n{ran.stdout.rstrip()}\n```"


def problems() -> str:
    """A spec full of mistakes, and the errors that it gets."""
    errors = _errors(load_spec, "mistaken.toml", _MISTAKEN)
    return (
        f'<!-- test: skip, it is wrong on purpose -->\n```toml title="mistaken.toml"\n{_MISTAKEN}```\n\n'
        f"```text\n$ hacore check mistaken.toml\n{errors}\n```"
    )


def sweep_problems() -> str:
    """A sweep with mistakes, and the errors that it gets."""
    base = (DOCS.parent / "experiments" / "han_rn.toml").read_text(encoding="utf-8")
    base = base.replace("k = 10\n", "")
    errors = _errors(load_sweep, "mistaken.toml", base + _SWEPT)
    return (
        f"<!-- test: skip, it is wrong on purpose -->\n```toml\n{_SWEPT.strip()}\n```\n\n"
        f"```text\n$ hacore sweep mistaken.toml\n{errors}\n```"
    )


def _errors(load: Callable[[Path], Any], name: str, text: str) -> str:
    """The problems of a mistaken spec as the command line prints them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_text(text, encoding="utf-8")
        try:
            load(path)
        except SpecError as error:
            return "\n".join(f"hacore: {line}" for line in str(error).replace(f"{path}", name).splitlines())
    raise AssertionError("the mistaken spec is valid")


PARTS = {
    "section": section_options,
    "components": component_options,
    "published": published,
    "kinds": kinds,
    "zoo": zoo,
    "help": command_help,
    "problems": problems,
    "sweep_problems": sweep_problems,
}


def generate(text: str) -> str:
    """A page with its generated parts up to date."""

    def make(match: re.Match[str]) -> str:
        name, *arguments = match["words"].split()
        return f"{match['open']}\n{PARTS[name](*arguments)}\n\n{match['close']}"

    return _PART.sub(make, text)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    check = "--check" in (sys.argv[1:] if arguments is None else arguments)
    stale = []
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        current = generate(text)
        if current != text:
            stale.append(path.name)
            if not check:
                path.write_text(current, encoding="utf-8")
    if stale:
        print(f"{'out of date, run docs/generate.py' if check else 'updated'}: {', '.join(stale)}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
