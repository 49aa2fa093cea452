"""The Tab key, as bash, zsh and fish ask for it: in shells of their own, without torch."""

import os
import shutil
import subprocess
import sys

import pytest

# Each gets command lines, of words with "|" between them, and prints what is offered for the last word of
# each, a line each, then "==". One shell has all lines, as it asks hacore for its script first.
BASH = """
hacore() { "$PYTHON" -m hacore "$@"; }
eval "$(_HACORE_COMPLETE=bash_source hacore)"
env() { shift 0; while [[ $1 == *=* ]]; do local -x "${1%%=*}=${1#*=}"; shift; done; "$@"; }
for line; do
    IFS="|" read -r -a COMP_WORDS <<< "$line"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
    _hacore_completion hacore 2>/dev/null
    printf '%s\\n' "${COMPREPLY[@]}" ==
done
"""
# Commands of zsh's completion system, which runs behind a line editor only, in place of which they print.
ZSH = """
compdef() { : }
compadd() { print -rl -- ${(P)@[-1]}; at=${@[(I)-S]}; (( at )) && print -r -- "then:${@[at+1]}" }
_describe() { print -rl -- ${${(P)3}%%:*} }
eval "$(_HACORE_COMPLETE=zsh_source hacore)"
for line; do words=("${(@s:|:)line}"); CURRENT=${#words}; _hacore_completion; print -r "=="; done
"""
FISH = """
_HACORE_COMPLETE=fish_source hacore | source
for line in $argv; complete -C (string replace -a "|" " " $line); echo ==; end
"""
SHELLS = {
    "bash": ("bash", "--norc", "-c", BASH, "bash"),
    "zsh": ("zsh", "-f", "-c", ZSH, "zsh"),
    "fish": ("fish", "--no-config", "-c", FISH),
}


@pytest.fixture(scope="module")
def offered(request, tmp_path_factory):
    """offered(shell, lines): what a shell would offer for the last word of each command line."""
    # zsh and fish look for the command on the path.
    command = tmp_path_factory.mktemp("bin") / "hacore"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hacore "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"

    def complete(shell, lines):
        if shutil.which(shell) is None:
            pytest.skip(f"no {shell}")
        ran = subprocess.run(
            [*SHELLS[shell], *("|".join(["hacore", *words]) for words in lines)],
            env={**os.environ, "PYTHON": sys.executable, "PATH": path},
            cwd=request.config.rootpath,
            capture_output=True,
            text=True,
        )
        assert ran.stderr == ""
        blocks = f"\n{ran.stdout}".split("\n==")
        assert len(blocks) == len(lines) + 1
        return [[line.partition("\t")[0] for line in block.splitlines() if line] for block in blocks[:-1]]

    return complete


SPEC = "experiments/han_rn.toml"
# The words as they stand in a line of bash, which takes = for a word, and what is offered for the last.
IN_BASH = [
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
]
WHOLE_WORDS = [
    (("plu",), ["plugins"]),
    (("plugins", "image"), ["image_encoder", "image-encoder"]),
    (("run", SPEC, "--set", "selector.k"), ["selector.k="]),
    (("run", SPEC, "--set", "selector.use=l2"), ["selector.use=l2-topk"]),
    (("run", SPEC, "train.schedule=co"), ["train.schedule=constant", "train.schedule=cosine"]),
    (("run", SPEC, "--device", "c"), ["cpu", "cuda"]),
    (("run", "none.toml", "--set", "sel"), []),
]


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_shell_offers(offered, shell):
    lines = IN_BASH if shell == "bash" else WHOLE_WORDS
    offers = offered(shell, [words for words, _ in lines])
    for (words, expected), offer in zip(lines, offers, strict=True):
        # zsh is told to put nothing, instead of a space, after a key, which a value follows.
        then = ["then:"] if shell == "zsh" and words[-1] == "selector.k" else []
        assert sorted(offer) == sorted(expected + then), words


@pytest.mark.parametrize(("words", "expected"), WHOLE_WORDS[::3])
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_what_these_shells_are_answered(request, cli, monkeypatch, shell, words, expected):
    """Also where neither shell is installed: zsh gives the number of the word, fish the word itself."""
    given = {
        "zsh": (" ".join(["hacore", *words]), str(len(words))),
        "fish": (f"hacore {' '.join(words)}", words[-1]),
    }
    line, at = given[shell]
    monkeypatch.chdir(request.config.rootpath)
    monkeypatch.setenv("_HACORE_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", at)
    ran = cli()
    assert ran.err == ""
    lines = ran.out.split("\n")[:-1] if ran.out.strip() else []
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
