"""The core stays small enough to be understood in an afternoon; make lint holds the order of its rooms."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [path for folder in ("hacore", "plugins") for path in sorted((ROOT / folder).rglob("*.py"))]


def length(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_the_core_has_at_most_ten_thousand_lines():
    assert sum(length(path) for path in (ROOT / "hacore").rglob("*.py")) <= 10_000


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_and_functions_are_short(path):
    assert length(path) <= 400
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [node.name for node in functions if node.end_lineno - node.lineno >= 60] == []
