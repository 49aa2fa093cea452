"""Tables on terminals of any width: no word is torn, nothing is cut."""

import random
import re
import sys

import pytest

from hacore.cli.tables import print_table

NAMES = ("selector", "image_encoder", "zoo/easy_vqa", "adahan")
WORDS = ("keeps", "the", "cells", "of", "largest", "norm", "(HAN)", "straight-through,", "weights", "0.125")


@pytest.fixture
def printed(monkeypatch, capsys):
    """printed(width, *arguments): the lines of a table on a terminal, without what makes letters bold."""
    monkeypatch.setenv("TERM", "xterm")

    def show(width, *arguments, **options):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(width))
        print_table(*arguments, **options)
        return re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()

    return show


def sentence(draw):
    return " ".join(draw.choices(WORDS, k=draw.randrange(1, 20)))


@pytest.mark.parametrize("seed", range(20))
def test_words_stay_whole_and_lines_fit(printed, seed):
    draw = random.Random(seed)
    rows = [
        [
            draw.choice(NAMES),
            f"{draw.randrange(10**7):,}",
            sentence(draw),
            f"{draw.random():.3f}",
            sentence(draw),
        ]
        for _ in range(draw.randrange(1, 8))
    ]
    columns = ["component", "multiply-adds", "what it is", "share", "how"]
    width = draw.choice([80, 100])
    lines = printed(width, "a title of some words", columns, rows)
    assert max(map(len, lines)) <= width
    for row in rows:
        for cell in row:
            for word in cell.split():
                assert any(word in line.split() for line in lines), word
    shown = sum(len(line.split()) for line in lines[1:])
    assert shown == sum(len(cell.split()) for row in [columns, *rows] for cell in row)


def test_minor_columns_go_where_there_is_no_room(printed):
    rows = [["selector", "l2-topk", "hacore-l2-topk", "0.1.0", "keeps the k cells of largest L2 norm"]]
    columns = ["kind", "name", "distribution", "version", "summary"]
    minor = ("version", "distribution")

    def heads(width):
        return printed(width, "", columns, rows, minor=minor)[0].split()

    assert heads(200) == columns
    assert heads(76) == ["kind", "name", "distribution", "summary"]
    assert heads(60) == ["kind", "name", "summary"]
    lines = printed(40, "", columns, rows, minor=minor)
    assert len(lines) > 2
    assert " ".join(line[19:].strip() for line in lines[1:]) == rows[0][-1]


def test_a_title_is_folded_between_words(printed):
    title = "dataset 'clevr' (hacore-clevr 0.1.0): 3D scenes and compositional questions about them"
    lines = printed(50, title, ["option"], [["root"]])
    assert [line.strip() for line in lines[2:]] == ["option", "root"]
    assert " ".join(line.strip() for line in lines[:2]) == title


def test_elsewhere_lines_are_long_whatever_the_environment_says(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")  # as programs set it that were begun in a terminal
    text = "word " * 30 + "end"
    print_table("", ["name", "what it is", "kind"], [["a", text, "b"]], minor=("kind",))
    head, line = capsys.readouterr().out.splitlines()
    assert (head.split()[-1], line.split()[-1]) == ("kind", "b")
