"""Terminals and files that are not UTF-8, full or gone: what is lost, and what is not."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

import hacore
from hacore.machine.commands import child_command
from hacore.spec import load_spec

Image = pytest.importorskip("PIL.Image")
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


@pytest.fixture(scope="module")
def place(tmp_path_factory, request, tiny):
    """A folder with a spec, a finished run and an image of it."""
    folder = tmp_path_factory.mktemp("place")
    spec = load_spec(request.config.rootpath / "experiments" / "han_rn.toml", tiny)
    run, _ = hacore.run(spec, runs=folder / "runs", device="cpu", report=False)
    (folder / "run").symlink_to(run.path)
    (folder / "spec.toml").write_bytes(run.spec_file.read_bytes())
    Image.new("RGB", (75, 75), "red").save(folder / "scene.png")
    return folder


@pytest.fixture
def shell(place):
    """shell("hacore ARGUMENTS >/dev/full", VARIABLE=...) runs the line with bash."""

    def run(line, **variables):
        command = line.replace("hacore ", f"{shlex.join(child_command())} ", 1)
        env = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
        return subprocess.run(["bash", "-c", command], cwd=place, env=env, capture_output=True, timeout=300)

    return run


@needs_full
@pytest.mark.parametrize(
    "words", ["--help", "--version", "plugins", "plugins --json", "run spec.toml --dry-run", "table run"]
)
def test_a_result_that_cannot_be_written_is_an_error_of_one_line(shell, names, words):
    ran = shell(f"hacore {words} >/dev/full")
    assert ran.returncode == 1
    (line,) = ran.stderr.decode().splitlines()
    names(line, "hacore:", "standard output", "No space left on device", "make room")


@needs_full
def test_an_error_that_cannot_be_written_is_still_an_error(shell):
    ran = shell("hacore check none.toml 2>/dev/full")
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, b"", b"")


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param("2>/dev/full", marks=needs_full),
        ">&- 2>&- <&-",
        "2> >(true)",  # a reader that leaves at once
    ],
)
def test_a_training_does_not_end_with_its_terminal(shell, place, streams):
    """Nor are its files mistaken for the terminal that was closed."""
    name = f"run{abs(hash(streams))}"
    ran = shell(f"hacore run spec.toml --set name={name} --set train.epochs=2 --no-report {streams}")
    assert ran.returncode == 0, ran.stderr
    (path,) = (place / "runs" / name).iterdir()
    assert hacore.RunFolder.open(path).result().questions > 0
    lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)


ENCODINGS = [
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C"},
]


@pytest.mark.parametrize("variables", ENCODINGS, ids=lambda given: "-".join(given.values()))
def test_characters_that_the_terminal_lacks_do_no_harm(shell, variables):
    for words, status in {
        "ask run scene.png 'is it 红 or größer 😀?' --output out": 0,
        "table run --format markdown": 0,
        "plugins": 0,
        "check 红😀.toml": 1,
        "run spec.toml --set name=größe-红 --no-report --set train.steps=1": None,
    }.items():
        ran = shell(f"hacore {words}", **variables)
        assert b"Traceback" not in ran.stderr, ran.stderr.decode(errors="replace")
        assert status is None or ran.returncode == status, ran.stderr


@pytest.mark.parametrize("variables", [*ENCODINGS, {"PYTHONIOENCODING": "utf-8"}])
def test_json_is_json_in_any_encoding(shell, variables):
    question = "is it 红 or größer 😀?"
    ran = shell(f"hacore ask run scene.png '{question}' --no-picture --json", **variables)
    encoding = variables.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    reply = json.loads(ran.stdout.decode(encoding))["replies"][0]
    # Where Python reads the command line as ASCII, its other bytes are kept as they are.
    assert reply["question"].encode(errors="surrogateescape").decode() == question


def test_bars_are_of_characters_that_the_terminal_has(shell):
    for encoding, bar in {"utf-8": "█", "cp1252": "#", "latin-1": "#"}.items():
        ran = shell("hacore ask run scene.png 'is it red?' --no-picture", PYTHONIOENCODING=encoding)
        first = ran.stdout.decode(encoding).splitlines()[2]
        assert first.rstrip().endswith(bar), first
