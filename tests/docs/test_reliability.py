"""docs/reliability.md promises nothing that no test holds it to."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| **")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("**")[1])
def test_every_promise_names_tests_that_exist(row):
    named = re.findall(r"`([\w./-]+\.py)(?:::(\w+))?`", row.split("|")[2])
    assert named, "a promise without a test"
    for file, test in named:
        assert (ROOT / file).is_file(), file
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {test or 'test_'}", source, re.MULTILINE), f"{file}::{test}"


def test_the_promises_are_there():
    assert len(ROWS) > 10
