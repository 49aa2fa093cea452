"""docs/own_data.md does what it says: its blocks and commands, in order, from pictures to answers."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "own_data.md"
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_RUN = "runs/mine/20260101-120000-abc123"


@pytest.mark.usefixtures("one_thread")
def test_the_page_goes_from_pictures_to_answers(tmp_path, monkeypatch, cli, capsys):
    monkeypatch.chdir(tmp_path)
    names, done = {"__name__": "example"}, []
    for language, title, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(text, PAGE.name, "exec"), names)
        elif title:
            Path(title).write_text(text)
        for line in text.splitlines() if language == "bash" else ():
            words = shlex.split(line)
            if words[0] != "hacore":
                continue
            runs = sorted(Path("runs/mine").glob("*")) if _RUN in words else []
            words = [str(runs[0]) if word == _RUN else word for word in words]
            ran = cli(*words[1:])
            assert ran.status == 0, ran.err
            done.append((words[1], ran.out))
    assert [command for command, _ in done] == ["data", "check", "run", "ask", "predict", "predict"]
    assert "train 24, val 3, test 3" in done[1][1]
    with open("mine/questions.csv", newline="", encoding="utf-8") as file:
        right = [row["answer"] for row in csv.DictReader(file)]
    with open("answers.csv", newline="", encoding="utf-8") as file:
        given = [row["answer"] for row in csv.DictReader(file)]
    # Which answers are right differs with the machine's arithmetic; that it learned anything does not.
    assert sum(one == other for one, other in zip(right, given, strict=True)) >= 20
    kept = [len(json.loads(line)["kept"]) for line in Path("answers.jsonl").read_text().splitlines()]
    assert kept == [4] * 30
    assert names["reply"].grid == (8, 8)
    assert len(names["reply"].kept) == 16
