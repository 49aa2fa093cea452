"""The Tab key, as bash, zsh and fish ask for it: in shells of their own, without torch."""

import itertools
import os
import shutil
import subprocess
import sys

import pytest

TRY = """
hacore() { "$PYTHON" -m hacore "$@"; }
eval "$(_HACORE_COMPLETE=bash_source hacore)"
env() { shift 0; while [[ $1 == *=* ]]; do local -x "${1%%=*}=${1#*=}"; shift; done; "$@"; }
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_hacore_completion hacore 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def offered(request):
    """offered("run", ...): what bash would offer for the last word."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")

    def complete(*words):
        ran = subprocess.run(
            [bash, "--norc", "-c", TRY, "bash", "hacore", *words],
            env={**os.environ, "PYTHON": sys.executable},
            cwd=request.config.rootpath,
            capture_output=True,
            text=True,
        )
        return ran.stdout.split()

    return complete


SPEC = "experiments/han_rn.toml"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("plu",), ["plugins"]),
        (("plugins", "image"), ["image_encoder", "image-encoder"]),
        (("plugins", "fuser", "con"), ["concat"]),
        (("run", SPEC, "--set", "selector.k"), ["selector.k="]),
        (("run", SPEC, "train.pre"), ["train.precision="]),
        (("run", SPEC, "--set", "selector.use", "=", "l2"), ["l2-topk"]),
        (("run", SPEC, "--set", "train.schedule", "="), ["constant", "linear", "cosine"]),
        (("run", SPEC, "--device", "c"), ["cpu", "cuda"]),
        (("eval", "tests/earlier/han", "--split", "t"), ["train", "test"]),
        (("eval", "tests/earlier/han", "selector.f"), ["selector.fraction="]),
        (("run", "none.toml", "--set", "sel"), []),
    ],
)
def test_bash_offers(offered, words, expected):
    assert sorted(offered(*words)) == sorted(expected)


# Commands of zsh's completion system, which runs behind a line editor only, in place of which they print.
ZSH = """
compdef() { : }
compadd() { print -rl -- ${(P)@[-1]} }
_describe() { print -rl -- ${${(P)3}%%:*} }
eval "$(_HACORE_COMPLETE=zsh_source hacore)"
words=("$@"); CURRENT=$#
_hacore_completion
"""
FISH = "_HACORE_COMPLETE=fish_source hacore | source; complete -C (string join -- ' ' $argv)"


@pytest.fixture
def own_command(tmp_path, monkeypatch):
    """``hacore`` on the path, as these shells look for it there."""
    command = tmp_path / "bin" / "hacore"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hacore "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")


# One line of the shell for each: the words as they stand there, and what is offered for the last of them.
WHOLE_WORDS = [
    (("plu",), ["plugins"]),
    (("plugins", "image"), ["image_encoder", "image-encoder"]),
    (("run", SPEC, "--set", "selector.k"), ["selector.k="]),
    (("run", SPEC, "--set", "selector.use=l2"), ["selector.use=l2-topk"]),
    (("run", SPEC, "train.schedule=co"), ["train.schedule=constant", "train.schedule=cosine"]),
    (("run", SPEC, "--device", "c"), ["cpu", "cuda"]),
    (("run", "none.toml", "--set", "sel"), []),
]


@pytest.mark.parametrize("shell", [("zsh", "-f", "-c", ZSH, "zsh"), ("fish", "--no-config", "-c", FISH)])
@pytest.mark.parametrize(("words", "expected"), WHOLE_WORDS)
def test_zsh_and_fish_offer_the_same(own_command, request, shell, words, expected):
    if shutil.which(shell[0]) is None:
        pytest.skip(f"no {shell[0]}")
    ran = subprocess.run(
        [*shell, "hacore", *words], cwd=request.config.rootpath, capture_output=True, text=True
    )
    assert ran.stderr == ""
    offers = [line.partition("\t")[0] for line in ran.stdout.splitlines() if line]
    assert sorted(offers) == sorted(expected)


@pytest.mark.parametrize(("word", "suffix"), [("selector.k", [""]), ("selector.use=l2", [])])
def test_zsh_puts_no_space_after_a_key(own_command, request, word, suffix):
    if shutil.which("zsh") is None:
        pytest.skip("no zsh")
    code = ZSH.replace("print -rl -- ${(P)@[-1]}", 'print -rl -- "$@"')
    assert code != ZSH
    ran = subprocess.run(
        ["zsh", "-f", "-c", code, "zsh", "hacore", "run", SPEC, "--set", word],
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
    )
    assert ran.stderr == ""
    arguments = ran.stdout.split("\n")
    assert "completions" in arguments
    assert [after for flag, after in itertools.pairwise(arguments) if flag == "-S"] == suffix


@pytest.mark.parametrize(("words", "expected"), WHOLE_WORDS[::3])
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_what_these_shells_are_answered(request, shell, words, expected):
    """Also where neither shell is installed: zsh gives the number of the word, fish the word itself."""
    given = {
        "zsh": (" ".join(["hacore", *words]), str(len(words))),
        "fish": (f"hacore {' '.join(words)}", words[-1]),
    }
    line, at = given[shell]
    ran = subprocess.run(
        [sys.executable, "-m", "hacore"],
        env={**os.environ, "_HACORE_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": at},
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
    )
    assert ran.stderr == ""
    lines = ran.stdout.split("\n")[:-1] if ran.stdout.strip() else []
    offers = lines[1::3] if shell == "zsh" else [line.partition(",")[2].partition("\t")[0] for line in lines]
    assert sorted(offers) == sorted(expected)


def test_completion_imports_no_torch(request):
    code = (
        "import os, sys\nfrom hacore.cli import main\n"
        "try:\n    main([])\nexcept SystemExit:\n    pass\n"
        "print('torch' in sys.modules, file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "_HACORE_COMPLETE": "bash_complete",
            "COMP_WORDS": f"hacore\nrun\n{SPEC}\n--set\nsel",
            "COMP_CWORD": "4",
        },
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
    )
    assert "selector.k=" in ran.stdout
    assert ran.stderr.strip() == "False"
