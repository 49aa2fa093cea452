"""What a person reads while something works: bars on a terminal, lines elsewhere, nothing when silent."""

import io
import logging
import time

import pytest
import rich.console

from hacore import console as module
from hacore.cli.tables import print_table
from hacore.console import Console, Silent, show_log
from hacore.data_tools import Tell


@pytest.fixture
def clock(monkeypatch):
    """clock(seconds) moves the time on."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert module.time.monotonic() == 1000.0

    def move(seconds):
        now[0] += seconds

    return move


@pytest.fixture
def terminal():
    """A terminal of 100 columns, and what was written to it."""
    text = io.StringIO()
    screen = rich.console.Console(
        file=text, force_terminal=True, force_interactive=True, width=100, color_system=None
    )
    return screen, text


def test_lines_come_every_so_many_seconds_and_at_the_end(clock):
    lines = []
    console = Console(lines.append, seconds=10.0)
    console.progress("images", 1, 2000)
    for done in (500, 1000, 1500):
        clock(6)
        console.progress("images", done, 2000, "fast")
    console.progress("images", 2000, 2000)
    console.message("packed")
    assert lines == ["images: 1,000 of 2,000  fast", "images: 2,000 of 2,000", "packed"]


def test_each_piece_of_work_has_its_own_time(clock):
    lines = []
    console = Console(lines.append, seconds=10.0)
    console.progress("first", 0.0, 1.0)
    clock(9)
    console.progress("second", 0.0, 1.0)
    clock(2)
    console.progress("first", 0.25, 1.0)
    console.progress("second", 0.5, 1.0)
    console.remove("first")
    clock(9)
    console.progress("first", 0.5, 1.0)
    assert lines == ["first:  25%"]


def test_lines_go_to_standard_error_as_they_are(capsys):
    console = Console()
    assert not console.live
    text = "[bold] 12 /a/path " + "long " * 50
    console.message(text)
    console.progress("images [red]", 7, 7)
    console.close()
    assert capsys.readouterr() == ("", f"{text}\nimages [red]: 7 of 7\n")


def test_a_terminal_shows_bars_and_messages_above_them(terminal):
    screen, text = terminal
    console = Console(screen=screen)
    assert console.live
    console.progress("images [red]", 500, 2000)
    console.progress("checksum", 0.5, 1.0, "0:00:07 left, as the state says")
    console.message("half way")
    console.close()
    lines = text.getvalue().splitlines()
    *_, images, checksum = [line for line in lines if "━" in line]
    assert "images [red] " in images
    assert "500 of 2,000" in images
    assert images.rstrip().endswith(":--")  # the time left, not known yet
    assert " 50%" in checksum
    assert checksum.split("\x1b")[0].rstrip().endswith("0:00:07 left, as the state says")
    assert any("half way" in line and "━" not in line for line in lines)


def test_bars_end_with_their_work_and_new_work_has_new_ones(terminal):
    screen, text = terminal
    console = Console(screen=screen)
    console.progress("first", 3, 3)
    before = len(text.getvalue())
    console.progress("second", 1, 3)
    console.progress("third", 1, 3)
    console.remove("third")
    console.close()
    after = text.getvalue()[before:]
    assert "3 of 3" in text.getvalue()[:before]
    assert "second" in after
    assert "first" not in after


def test_a_terminal_without_cursor_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    text = io.StringIO()
    console = Console(screen=rich.console.Console(file=text, force_terminal=True, color_system=None))
    console.progress("images", 3, 3)
    assert text.getvalue() == "images: 3 of 3\n"


def test_messages_of_the_library_go_through_the_console(cli):
    lines = []
    show_log(Console(lines.append))
    logging.getLogger("hacore").info("preparing %s, 100%% of it", "data")
    logging.getLogger("hacore").debug("unseen")
    assert lines == ["preparing data, 100% of it"]


def test_silent_says_nothing(capsys):
    tell: Tell = Silent()
    tell.message("hush")
    tell.progress("images", 1, 1)
    assert capsys.readouterr() == ("", "")


def test_paths_are_shown_as_they_are(terminal, capsys):
    """Neither rich's markup nor its names of emoji are read in them."""
    screen, text = terminal
    path = "runs/[red]a:x:[/red]/[link=b]"
    Console(screen=screen).message(path)
    assert text.getvalue() == f"{path}\n"
    print_table(path, ["run"], [[path]])
    assert capsys.readouterr().out.split() == [path, "run", path]
