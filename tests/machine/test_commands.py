"""Commands that are printed do what they say when they are pasted."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hacore.machine.commands import child_command, pasteable, path_word

NASTY = [
    *("plain", "my out", "it's", 'a "b"', "a'b\"c d", "$HOME", "`id`", "a;b", "a&b", "a|b", "*", "[red]"),
    *("a\nb", "a\tb\\n'c", "\x1b[31m", "größe 红", "~", "#x", "%20", "!x", "(x)", "{a,b}", "a\\b"),
    *("", "\udcff b"),
]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("word", NASTY, ids=ascii)
def test_a_shell_reads_every_word_back(word):
    line = pasteable("printf", "%s|", word, Path(word, "x"))
    assert "\n" not in line
    command = ["bash", "-c", line.encode(errors="surrogateescape")]
    ran = subprocess.run(command, capture_output=True, check=True)
    assert ran.stdout.decode(errors="surrogateescape") == f"{word}|{Path(word, 'x')}|"


def test_a_path_is_never_an_option():
    assert pasteable("hacore", "eval", Path("-x/run"), "--json") == "hacore eval ./-x/run --json"
    assert path_word(Path("x/-run")) == "x/-run"


def test_a_child_does_not_look_into_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("random", "types", "click", "torch", "hacore"):
        Path(f"{name}.py").write_text("raise SystemExit('shadowed')")
    ran = subprocess.run(child_command("--version"), capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_command_that_a_user_types_does_not_either(tmp_path):
    """``python -m hacore``, and with it ``torchrun -m hacore``, where Python put the folder on the path."""
    for name in ("random", "click", "torch", "attr", "tomllib"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    command = [word for word in child_command("plugins", "selector", "l2-topk") if word != "-P"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
