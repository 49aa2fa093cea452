"""What a machine with a CUDA GPU can say of hacore, by one command.

    python benchmarks/gpu.py                               # all parts, at most 25 minutes
    python benchmarks/gpu.py --parts tests --minutes 9     # a part of it; what is done is not done again
    python benchmarks/gpu.py --device cpu --quick --output /tmp/gpu.json     # does the program work?

Three parts, each with a limit of its own; one that fails does not stop the others:

tests      the tests that are skipped where there is no CUDA device
bench      hacore bench on the paper's models, in float32 and bfloat16, compiled and not, on data made here
speedrun   --speedrun-minutes of benchmarks/clevr_speedrun.py

Everything goes into one small JSON file, written after each piece of work. A further call with the same
device, torch and git revision adds what is missing: parts that failed or were cut off, and models that were
not reached. Anything else begins a new file. Data and runs are in --folder.

It needs an installation as the README has it (make install). For a machine that reaches no package registry,
carry the wheels along: where there is a network, in a folder of the same Python and system,

    pip wheel --wheel-dir wheels . $(ls -d plugins/*) 'pytest>=8.2' 'hypothesis>=6.100'

and on the machine, in the checkout, where torch may be there already:

    pip install --no-index --find-links wheels $(basename -a plugins/*) hacore pytest hypothesis
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from hacore.errors import HacoreError
from hacore.machine.commands import child_command
from hacore.machine.device import choose_device, device_name
from hacore.machine.files import write_json, write_whole

ROOT = Path(__file__).resolve().parents[1]
Part = dict[str, Any]
MODELS = ("han_rn", "clevr/han_rn", "clevr/rn", "clevr/han_rn_plus", "clevr/han_rn_plus_plus")
QUICK_MODELS = MODELS[1:2]
SORT_OF_CLEVR = ("data.images=400", "data.held_out=50", "data.validation=50")


class Failed(Exception):
    """A piece of work did not end as it should; says why in one line."""


class Session:
    """The options, the time that is left, and the file."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self._ends = options, time.monotonic() + 60 * options.minutes
        self.device = choose_device(options.device)
        self.report = self._read() or {**self._identity(), **self._more(), "parts": {}}

    def _identity(self) -> dict[str, Any]:
        """What all parts of a file have in common."""
        return {
            "format": 1,
            "device_name": device_name(self.device),
            "torch": torch.__version__,
            "git_revision": output_of("git", "-C", str(ROOT), "rev-parse", "HEAD"),
            "quick": self.options.quick,
        }

    def _more(self) -> dict[str, Any]:
        driver = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        return {
            "driver": output_of(*driver) if self.device.type == "cuda" else None,
            "cuda": torch.version.cuda,
            "python": platform.python_version(),
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        }

    def _read(self) -> dict[str, Any] | None:
        """An earlier call's file, if it is of the same."""
        try:
            report: dict[str, Any] = json.loads(self.options.output.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        same = {key: report.get(key) for key in self._identity()} == self._identity()
        if not same:
            print(f"{self.options.output} is of another device or revision, and is made anew", flush=True)
        return report if same else None

    def save(self) -> None:
        self.options.output.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.report, indent=1)
        # What holds no further lists and tables goes on one line.
        text = re.sub(r"\{[^{}\[\]]*\}|\[[^{}\[\]]*\]", lambda match: " ".join(match[0].split()), text)
        write_whole(self.options.output, (text + "\n").encode())

    def left(self, minutes: float) -> float:
        """Seconds that a piece of work may take that has so many minutes of its own."""
        return min(60 * minutes, self._ends - time.monotonic())

    def run(self, command: list[str], minutes: float) -> str:
        """Its output. Raises Failed for what fails or takes too long; then nothing of it goes on."""
        seconds = self.left(minutes)
        if seconds < 1:
            raise Failed("the time was up before it began")
        started = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )
        try:
            said, _ = started.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"was stopped after {seconds:.0f} s") from None
        finally:
            stop_group(started)
        if started.returncode:
            lines = said.strip().splitlines() or ["nothing"]
            raise Failed(f"status {started.returncode}: {lines[-1][:300]}")
        return said


def stop_group(process: subprocess.Popen[str]) -> None:
    """End a process and those that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    process.wait()


def output_of(*command: str) -> str | None:
    """What a program prints, or None where it is not there or fails."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None


# Tests


def tests(session: Session, part: Part) -> None:
    """Counts, and the names of the tests that fail."""
    found = session.options.folder / "tests.json"
    found.parent.mkdir(parents=True, exist_ok=True)
    found.unlink(missing_ok=True)
    paths = ["tests/test_selection.py"] if session.options.quick else ["tests", "plugins"]
    try:
        session.run([sys.executable, str(Path(__file__).resolve()), "--pytest", str(found), *paths], 8)
    finally:
        if found.is_file():
            part.update(json.loads(found.read_text(encoding="utf-8")))
    if "failed" not in part:
        raise Failed("no test was found")
    if part["failed"]:
        raise Failed(f"{part['failed']} of the tests failed")


class CudaTests:
    """A pytest plugin: runs only the tests that need a CUDA device, and writes what came out of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes: dict[str, str] = {}
        self._problems: list[str] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        def needs_cuda(item: Any) -> bool:
            reasons = (str(mark.kwargs.get("reason")) for mark in item.iter_markers("skipif"))
            return any(re.search("CUDA|GPU", reason) for reason in reasons)

        items[:] = [item for item in items if needs_cuda(item)]

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._problems.append(report.nodeid)
            self._write()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self._outcomes[report.nodeid] = report.outcome
            self._write()

    def _write(self) -> None:
        outcomes = list(self._outcomes.values())
        counts = {outcome: outcomes.count(outcome) for outcome in ("passed", "failed", "skipped")}
        counts["failed"] += len(self._problems)
        failing = [name for name, outcome in self._outcomes.items() if outcome == "failed"]
        write_json(self._path, {**counts, "failing": [*self._problems, *failing]})


def run_pytest(path: str, *paths: str) -> int:
    import pytest

    code = int(
        pytest.main(
            ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", *paths],
            plugins=[CudaTests(Path(path))],
        )
    )
    return 0 if code == pytest.ExitCode.TESTS_FAILED else code  # the file says which


# hacore bench


def bench(session: Session, part: Part) -> None:
    """The paper's models; entries by name, as "clevr/rn bfloat16 compiled"."""
    entries: dict[str, Any] = part.setdefault("models", {})
    problems: dict[str, str] = {}
    part["problems"] = problems
    quick = session.options.quick
    for compiled, model, precision in itertools.product(
        (False,) if quick else (False, True), QUICK_MODELS if quick else MODELS, ("float32", "bfloat16")
    ):
        name = f"{model} {precision}{' compiled' if compiled else ''}"
        if name in entries:
            continue
        print(f"bench: {name}", flush=True)
        try:
            words = [*data_of(session, model), f"train.precision={precision}"]
            words += [f"train.compile={str(compiled).lower()}"]
            entries[name] = measured(session, model, words)
        except (Failed, HacoreError) as error:
            problems[name] = str(error)
        session.save()
    if problems:
        raise Failed(f"{len(problems)} models were not measured")


def measured(session: Session, model: str, words: list[str]) -> dict[str, Any]:
    """What ``hacore bench`` prints, without what can be computed from the rest."""
    few = ("--batch", "2", "--repeats", "3", "--seconds", "0", "--no-memory")
    limits = few if session.options.quick else ("--seconds", "8")
    command = child_command("bench", f"experiments/{model}.toml", *words, *limits, "--json")
    said = session.run([*command, "--device", str(session.device)], 4)
    result = json.loads(said[said.index("\n{\n") if not said.startswith("{") else 0 :])
    batches: dict[str, Any] = {}
    for row in result["rows"]:
        batch = batches.setdefault(f"{row['model']} {row['questions']}", {"milliseconds": {}})
        batch["milliseconds"][f"{row['part']} {row['work']}"] = round(row["milliseconds"], 4)
        if row["part"] == "whole":
            batch[f"{row['work']}_peak_bytes"] = row["peak_bytes"]
            batch[f"{row['work']}_quartiles"] = [round(row["lower"], 4), round(row["upper"], 4)]
        if row["part"] == "whole" and row["work"] == "forward":
            batch["multiply_adds"] = row["multiply_adds"]
            batch["matrix_share"] = round(row["matrix_share"], 4)
    result["matrix"]["milliseconds"] = round(result["matrix"]["milliseconds"], 4)
    kept = {entry["name"]: entry["kept"] for entry in result["models"]}
    return {"kept": kept, "matrix": result["matrix"], "batches": batches, "notes": result["notes"]}


def data_of(session: Session, model: str) -> list[str]:
    """KEY=VALUE of data that are made here, once."""
    if not model.startswith("clevr/"):
        return [*SORT_OF_CLEVR]
    from hacore_clevr import GenerateConfig
    from hacore_clevr.generate.command import generate

    from hacore.console import Console

    side = 224 if model.endswith("plus_plus") else 128
    folder = session.options.folder / f"clevr-{side}"
    outcome = generate(
        GenerateConfig(
            images=20 if session.options.quick else 400,
            output=str(folder),
            packed=True,
            size=(side, side),
            device="cpu" if session.device.type == "cpu" else "auto",
        ),
        Console(print),
    )
    if outcome.problems:
        raise Failed(outcome.problems[0])
    return [f"data.root={folder}", "data.dev_images=0", "eval.split=val", "eval.final_split=test"]


# The speed run


def speedrun(session: Session, part: Part) -> None:
    """How far the training came."""
    options = session.options
    minutes = max(0.1, min(options.speedrun_minutes, session.left(60) / 60 - 1.5))
    folder = options.folder / "speedrun"
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "clevr_speedrun.py"),
        "--folder",
        str(folder.resolve()),
    ]
    command += ["--device", options.device, "--minutes", f"{minutes:.2f}"]
    if options.quick:
        command += ["--spec", "experiments/clevr/han_rn.toml", "--images", "20"]
        command += [
            "--set",
            "train.epochs=1",
            "--set",
            "train.batch_images=4",
            "--set",
            "eval.baseline_steps=2",
        ]
    else:
        command += ["--spec", "experiments/clevr/han_rn_plus.toml", "--images", str(options.speedrun_images)]
    try:
        session.run(command, minutes + 2)
    finally:
        path = folder / "speedrun.json"
        if path.is_file():
            state = json.loads(path.read_text(encoding="utf-8"))
            part.update({key: state.get(key) for key in ("data_seconds", "progress", "rungs")})
            part["test_accuracy"] = (state.get("result") or {}).get("accuracy")


PARTS: dict[str, Callable[[Session, Part], None]] = {"tests": tests, "bench": bench, "speedrun": speedrun}


def measure(session: Session, wanted: list[str]) -> Iterator[str]:
    """A line about each part."""
    for name in wanted:
        part: Part = session.report["parts"].setdefault(name, {})
        if part.get("state") == "done":
            yield f"{name}: done by an earlier call"
            continue
        print(f"{name} ...", flush=True)
        started = time.monotonic()
        try:
            part["state"] = "begun"
            PARTS[name](session, part)
            part["state"] = "done"
        except Exception as error:  # the other parts go on, and the file says what happened to this one
            text = (
                str(error) if isinstance(error, (Failed, HacoreError)) else f"{type(error).__name__}: {error}"
            )
            part["state"] = f"failed: {' '.join(text.split())[:300]}"
        part["seconds"] = round(part.get("seconds", 0) + time.monotonic() - started, 1)
        session.save()
        yield f"{name}: {part['state']}, {part['seconds']:,.0f} s"


def main() -> int:
    if sys.argv[1:2] == ["--pytest"]:
        return run_pytest(*sys.argv[2:])
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:INDEX, or cpu to try the program")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of: %(default)s")
    parser.add_argument("--minutes", type=float, default=25.0, help="of this call; default: %(default)s")
    parser.add_argument("--speedrun-minutes", type=float, default=5.0, help="default: %(default)s")
    parser.add_argument("--speedrun-images", type=int, default=20_000, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "gpu.json")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "gpu", help="of data and runs")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    options = parser.parse_args()
    wanted = options.parts.split(",")
    if unknown := [name for name in wanted if name not in PARTS]:
        parser.error(f"no part '{unknown[0]}'; parts: {', '.join(PARTS)}")
    options.folder, options.output = options.folder.resolve(), options.output.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        session = Session(options)
    except HacoreError as error:
        print(f"{error}; --device cpu --quick tries the program", file=sys.stderr)
        return 1
    for line in measure(session, wanted):
        print(line, flush=True)
    print(f"written: {options.output}")
    parts = session.report["parts"]
    return int(any(parts[name]["state"] != "done" for name in wanted))


if __name__ == "__main__":
    sys.exit(main())
