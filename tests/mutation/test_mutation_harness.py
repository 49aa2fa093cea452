"""The harness catches what it is there to catch: faults that are planted here."""

import os
import random
import time
import warnings

import click
import mutators
import pytest
from harness import Command, Subject, attempt, digests, judge, run, table

from hacore.errors import HacoreError


@pytest.fixture
def whole(tmp_path):
    """A subject of two files."""
    folder = tmp_path / "whole"
    folder.mkdir()
    (folder / "a.json").write_text('{"one": 1, "two": [2, 3]}')
    (folder / "kept.txt").write_text("dear")
    return folder


@pytest.fixture
def fault_of(whole, tmp_path):
    """fault_of(function) is what the harness says where a command does this."""

    def go(function, limit=5.0):
        command = Command(words=function, damaged=("a.json",), writes=("out/*",))
        subjects = {"made": lambda: Subject(name="made", folder=whole, commands=(command,))}
        return attempt(subjects, 3, 4, tmp_path / "place", limit).fault

    return go


def refuse():
    click.echo("opening the data", err=True)
    click.echo("hacore: a.json: is damaged", err=True)
    raise SystemExit(1)


def test_success_and_a_line_are_no_faults(fault_of):
    assert fault_of(lambda: None) == ""
    assert fault_of(refuse) == ""


def plant_exception():
    raise KeyError("planted")


def plant_hacore_error():
    raise HacoreError("not printed by the main program")


def plant_silence():
    raise SystemExit(1)


def plant_other_line():
    click.echo("something is wrong", err=True)
    raise SystemExit(1)


def plant_traceback():
    click.echo("Traceback (most recent call last):\nhacore: x", err=True)
    raise SystemExit(1)


def plant_interrupt():
    raise KeyboardInterrupt


def plant_warning():
    warnings.warn("overflow", RuntimeWarning, stacklevel=1)


def plant_long_line():
    click.echo("hacore: " + "x" * 5000, err=True)
    raise SystemExit(1)


def plant_loss():
    os.remove("kept.txt")


def plant_overwriting():
    with open("kept.txt", "w") as file:
        file.write("other")
    refuse()


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        (plant_exception, "planted"),
        (plant_hacore_error, "not printed"),
        (plant_silence, "does not begin with"),
        (plant_other_line, "something is wrong"),
        (plant_traceback, "traceback"),
        (plant_interrupt, "KeyboardInterrupt"),
        (plant_warning, "overflow"),
        (plant_long_line, "5008 characters"),
        (plant_loss, "kept.txt"),
        (plant_overwriting, "kept.txt"),
    ],
)
def test_planted_faults_are_caught(fault_of, planted, words):
    assert words in fault_of(planted)


def test_a_command_without_end_is_caught(fault_of):
    assert "TooLongError" in fault_of(lambda: time.sleep(10), limit=0.1)


def test_what_a_command_writes_may_change_where_it_succeeds_only(whole):
    (whole / "out").mkdir()
    (whole / "out" / "x").write_text("old")
    before = digests(whole)

    def write():
        (whole / "out" / "x").write_text("new")

    command = Command(words=write, damaged=("a.json",), writes=("out/*",))
    ended = run(command, whole, 5.0)
    assert judge(ended, command, before, digests(whole), "a.json") == ""

    def fail():
        write()
        refuse()

    (whole / "out" / "x").write_text("old")
    command = Command(words=fail, damaged=("a.json",), writes=("out/*",))
    ended = run(command, whole, 5.0)
    assert "out/x" in judge(ended, command, before, digests(whole), "a.json")


def test_the_same_number_is_the_same_input(whole, tmp_path):
    command = Command(words=plant_exception, damaged=("*",))
    subjects = {"made": lambda: Subject(name="made", folder=whole, commands=(command,))}
    attempts = [attempt(subjects, 5, 6, tmp_path / str(place), 5.0) for place in range(2)]
    assert str(attempts[0]) == str(attempts[1])
    assert digests(tmp_path / "0") == digests(tmp_path / "1")
    assert "faults" in table(attempts)
    assert table(attempts).splitlines()[-1].split() == ["all", "2", "0", "0", "2"]


@pytest.mark.parametrize("suffix", ["json", "jsonl", "toml", "txt", "png"])
def test_every_mutator_takes_every_content(suffix):
    for content in (b"", b"\xff\xfe", b"a", b'{"a": [1, 2.5]}\n{"a": 3}\n', b"a = 1\nb = 2\n"):
        for mutator in mutators.BY_SUFFIX.get(f".{suffix}", mutators.BINARY):
            for seed in range(20):
                assert isinstance(mutator(random.Random(seed), content), bytes)
