"""Five seeded runs, digested: a change that should leave results alone proves it by equal digests.

    python benchmarks/seeded_runs.py --output before.json      # before the change
    python benchmarks/seeded_runs.py --against before.json     # after it, on the same machine
    python benchmarks/seeded_runs.py --precision bfloat16 ...  # the same in bfloat16

HAN with a Relation Network, AdaHAN, HAN on a feature store, HAN in two processes, and HAN that was
interrupted and resumed; small Sort-of-CLEVR, CPU, a minute in all. Compared bit for bit: weights,
optimiser and random states of both checkpoints, losses and scores of metrics.jsonl, result and predictions.
Other processors round differently, so digests are compared on one machine only, and of one precision; those
that name none are of float32.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors import safe_open

from hacore.machine.commands import child_command

HAN = """
name = "han"
seed = 5
data = { use = "sort-of-clevr", images = 120, held_out = 20, validation = 20 }
image_encoder = { use = "small-cnn", channels = [8, 16, 16] }
question_encoder = { use = "lstm", hidden = 16, bidirectional = true }
fuser = { use = "multiply", width = 16, layers = 1, coordinates = false }
selector = { use = "l2-topk", k = 10 }
aggregator = { use = "rn", reduce = "mean", coordinate_scale = 8.0 }
head = { hidden = [32], dropout = 0.2 }
[train]
epochs = 6
batch_images = 8
lr = 2e-3
threads = 1
checkpoint_steps = 7
log_steps = 3
average = 0.9
[eval]
every_epochs = 1.0
baseline_steps = 20
"""
ADAHAN = ["name=adahan", "selector={ use = 'adahan', scale = 0.125 }", "aggregator={ use = 'non-local' }"]
TWO = ["name=two", "train.processes=2"]
TIMED = ("seconds", "questions_per_second")
PREDICTED = ("id", "image", "type", "answer", "prediction", "score", "probability", "kept")
"""What a line of predictions had from the start; more may be added."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="write the digests to this file")
    parser.add_argument("--against", type=Path, help="compare with the digests in this file")
    parser.add_argument("--runs", type=Path, help="keep the run folders here")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = digests(Path(temporary), chosen.runs or Path(temporary) / "runs", chosen.precision)
    if chosen.output:
        chosen.output.write_text(json.dumps(results, indent=1) + "\n")
    if chosen.against:
        different = differences(json.loads(chosen.against.read_text()), results)
        print("\n".join(different) or f"equal in {chosen.precision}: {', '.join(results)}")
        sys.exit(bool(different))
    print(json.dumps(results, indent=1))


def digests(work: Path, runs: Path, precision: str) -> dict[str, dict[str, str]]:
    """{run: {what: digest or value}}."""
    spec = work / "han.toml"
    spec.write_text(HAN.replace("[train]", f'[train]\nprecision = "{precision}"'))
    os.environ["HACORE_CACHE"] = str(work / "cache")
    folders = {
        "han": run(spec, runs, "han", []),
        "adahan": run(spec, runs, "adahan", ADAHAN),
        "store": run(spec, runs, "store", _stored(spec, work)),
        "two": run(spec, runs, "two", TWO),
        "resumed": _resumed(spec, runs),
    }
    results = {name: digest(folder) for name, folder in folders.items()}
    for key in ("last", "best", "metrics"):
        assert results["han"][key] == results["resumed"][key], (
            f"a resumed run differs from a whole one: {key}"
        )
    return results


def run(spec: Path, runs: Path, name: str, overrides: list[str]) -> Path:
    """The folder of a finished run."""
    flags = [word for override in [*overrides, f"name={name}"] for word in ("--set", override)]
    _hacore("run", str(spec), *flags, "--runs", str(runs), "--device", "cpu", "--no-report")
    return max((runs / name).iterdir())


def _stored(spec: Path, work: Path) -> list[str]:
    """Overrides for a frozen ResNet-18 with random weights, whose features are stored."""
    weights = work / "resnet18.pth"
    torch.manual_seed(1)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights)
    encoder = (
        f"image_encoder={{ use = 'resnet', depth = 18, stage = 2, weights = '{weights}', frozen = true }}"
    )
    root = work / "store"
    _hacore("features", str(spec), "--set", encoder, "--output", str(root), "--device", "cpu")
    return [encoder, f"features.root='{root}'", "train.block_images=16"]


def _resumed(spec: Path, runs: Path) -> Path:
    """The folder of a run that SIGTERM stopped after its second line of metrics, and that went on."""
    flags = ["--set", "name=resumed", "--runs", str(runs), "--device", "cpu"]
    command = child_command("run", str(spec), *flags)
    started = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while started.poll() is None:
        written = list(runs.glob("resumed/*/metrics.jsonl"))
        if written and written[0].read_text().count("\n") > 1:
            started.send_signal(signal.SIGTERM)
            break
    started.communicate()
    (folder,) = (runs / "resumed").iterdir()
    assert not (folder / "result.json").is_file(), "the run ended before it could be stopped"
    _hacore("run", "--resume", str(folder), "--device", "cpu", "--no-report")
    return folder


def _hacore(*arguments: str) -> None:
    done = subprocess.run(child_command(*arguments), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"hacore {' '.join(arguments)} failed:\n{done.stderr}")


def digest(folder: Path) -> dict[str, str]:
    """Of each part of a run folder. The name and what tells time are left out."""
    result = json.loads((folder / "result.json").read_text())
    del result["name"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    predictions = [
        {key: record[key] for key in PREDICTED}
        for record in map(json.loads, (folder / "predictions" / "test.jsonl").read_text().splitlines())
    ]
    return {
        "precision": result["training"]["precision"],
        **{name: _tensors(folder / "checkpoints" / f"{name}.safetensors") for name in ("last", "best")},
        "metrics": _hash([_without_times(line) for line in lines]),
        "scores": _hash({key: result[key] for key in ("loss", "accuracy", "kept", "by_type", "baselines")}),
        "predictions": _hash(predictions),
        "test accuracy": str(result["accuracy"]),
    }


def _without_times(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in TIMED and key != "format"}


def _tensors(path: Path) -> str:
    """Digest of all tensors of a checkpoint, by name: weights, averages, optimiser, random states, sums."""
    sha = hashlib.sha256()
    with safe_open(str(path), "pt") as file:
        for name in sorted(file.keys()):
            tensor = file.get_tensor(name)
            sha.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            sha.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:16]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def differences(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> list[str]:
    """A line for each part that differs."""
    return [
        f"{name}: {part} was {earlier[part]}, is {value}"
        for name, parts in after.items()
        for earlier in [{"precision": "float32", **before[name]}]
        for part, value in parts.items()
        if earlier[part] != value
    ]


if __name__ == "__main__":
    main()
