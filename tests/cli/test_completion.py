"""The Tab key, as bash asks for it: in a shell of its own, without torch."""

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
