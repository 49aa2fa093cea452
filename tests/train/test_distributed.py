"""Two processes on the CPU, started as a user starts them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

import hacore
from hacore.errors import RunError
from hacore.machine.files import load_tensors
from hacore.machine.processes import World, launched, share_buffers, world
from hacore.model.opening import open_dataset
from hacore.spec import dump_spec
from hacore.workflow import run as run_spec

# Watches what each process sees and holds.
SPY = """
import sys
import torch
import hacore.train.trainer as trainer
import hacore.workflow.running as running
from hacore.cli import main

seen, evaluated = [], []
make_batch, evaluate = trainer.make_batch, trainer.evaluate

def spying_batch(questions, images, rows, objects):
    seen.extend(rows.tolist())
    return make_batch(questions, images, rows, objects)

def spying_evaluate(model, *arguments, **options):
    evaluated.append({name: b.clone() for name, b in model.named_buffers()})
    scores = evaluate(model, *arguments, **options)
    evaluated[-1]["accuracy"] = torch.tensor(scores.accuracy)
    return scores

class SpyingTrainer(trainer.Trainer):
    def train(self):
        super().train()
        state = self.model.state_dict()
        held = {"model": state, "seen": seen, "evaluated": evaluated, "random": torch.rand(3)}
        torch.save(held, f"rank{self.world.rank}.pt")

trainer.make_batch, running.Trainer, trainer.evaluate = spying_batch, SpyingTrainer, spying_evaluate
main(sys.argv[1:])
"""


@pytest.fixture
def torchrun(tmp_path):
    """torchrun("-m", "hacore", ...) -> the process, two of them started by torch.distributed.run."""

    def start(*arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--master-port", str(port)]
        return subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *options, *map(str, arguments)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    return start


def finished(process):
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def the_run(folder):
    (path,) = folder.glob("runs/tiny/2*")
    return hacore.RunFolder.open(path)


def test_one_process_is_a_world_of_its_own(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert not launched()
    with world(torch.device("cpu")) as here:
        assert here == World(rank=0, processes=1)
        assert here.leads
        model = nn.BatchNorm1d(3)
        model.running_mean.fill_(2)
        share_buffers(model)
        assert model.running_mean.tolist() == [2, 2, 2]


def test_two_processes_give_what_one_gives(make_spec, names, torchrun, tmp_path):
    """Without batch norm and dropout only the order of sums differs."""
    changes = {
        "train.epochs": 1,
        "train.lr": 0.001,
        "image_encoder.norm": "off",
        "fuser": {"use": "add", "width": 8},
        "selector": {"use": "all-cells"},
        "head.dropout": 0.0,
        "train.log_steps": 1,
    }
    spec = make_spec(changes)
    (tmp_path / "spec.toml").write_text(dump_spec(spec))
    output = finished(torchrun("-m", "hacore", "run", "spec.toml"))
    assert output.count("run folder: ") == 2  # at the start and at the end, by the leading process alone
    pair = the_run(tmp_path)
    alone, result = run_spec(spec, runs=tmp_path / "alone", device="cpu")

    mine, yours = load_tensors(alone.last)[0], load_tensors(pair.last)[0]
    for name in mine:
        if name.startswith("model."):
            torch.testing.assert_close(yours[name], mine[name], rtol=1e-3, atol=3e-5, msg=name)
    both = [[json.loads(line) for line in run.metrics_file.read_text().splitlines()] for run in (alone, pair)]
    assert len(both[0]) == len(both[1])
    for one, two in zip(*both, strict=True):
        assert one["step"] == two["step"]
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert two["accuracy"] == pytest.approx(one["accuracy"], abs=0.03)
    pair_result = pair.result()
    assert pair_result["training"]["processes"] == 2
    assert pair_result["questions"] == result["questions"]
    assert pair_result["loss"] == pytest.approx(result["loss"], rel=1e-3)

    pair.result_file.unlink()
    before = pair.last.read_bytes()
    with pytest.raises(RunError) as caught:
        run_spec(spec, resume=pair, device="cpu")
    names(str(caught.value), f"{pair.last}:", "2 processes", "1", "resume with as many")
    assert pair.last.read_bytes() == before


APART = """
import os
import sys
from hacore.measure import predict

predict.multiplies_bfloat16 = lambda device: (os.environ["RANK"] == "0") == (sys.argv[1] == "leader")
from hacore.cli import main
from hacore.train import trainer

whole = trainer.Trainer._save

def save(self, path):
    whole(self, path)
    with open(f"rank{self.world.rank}.txt", "w") as file:
        file.write(f"{self.precision} {self.position.precision}")

trainer.Trainer._save = save
main(sys.argv[2:])
"""


@pytest.mark.parametrize(("fast", "precision"), [("leader", "bfloat16"), ("other", "float32")])
def test_all_processes_take_the_precision_that_the_leading_one_chooses(
    make_spec, torchrun, tmp_path, fast, precision
):
    """As on two machines, only one of which has instructions for bfloat16."""
    spec = make_spec({"train.precision": "auto", "train.steps": 2, "eval.baseline_steps": 0})
    (tmp_path / "spec.toml").write_text(dump_spec(spec))
    (tmp_path / "apart.py").write_text(APART)
    output = finished(torchrun("apart.py", fast, "run", "spec.toml", "--device", "cpu"))
    assert output.count("precision: ") == 1
    for rank in range(2):
        assert (tmp_path / f"rank{rank}.txt").read_text() == f"torch.{precision} {precision}"
    folder = the_run(tmp_path)
    assert folder.result().training.precision == precision
    assert json.loads(folder.environment_file.read_text())["precision"] == precision


def test_batch_norm_dropout_and_who_sees_what(make_spec, torchrun, tmp_path):
    spec = make_spec({"train.epochs": 2, "train.checkpoint_steps": 3})
    (tmp_path / "spec.toml").write_text(dump_spec(spec))
    (tmp_path / "spy.py").write_text(SPY)
    finished(torchrun("spy.py", "run", "spec.toml"))
    one, two = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))

    # Both hold the same model at the end, as the checkpoint does, and at every evaluation.
    saved = load_tensors(the_run(tmp_path).last)[0]
    for name, tensor in one["model"].items():
        assert torch.equal(tensor, two["model"][name]), name
        assert torch.equal(tensor, saved[f"model.{name}"]), name
    assert len(one["evaluated"]) == len(two["evaluated"]) == 4
    for mine, yours in zip(one["evaluated"], two["evaluated"], strict=True):
        assert all(torch.equal(mine[name], yours[name]) for name in mine)
    # Constants such as the mean of the images are what they were.
    encoder = open_dataset(spec.data).sizes().image_mean
    assert torch.equal(one["model"]["image_encoder.image_mean"].flatten(), torch.tensor(encoder))

    # Two epochs: every question twice, one half of the images each time by either.
    questions = len(open_dataset(spec.data).questions("train"))
    assert sorted(one["seen"] + two["seen"]) == sorted([*range(questions)] * 2)
    assert min(len(one["seen"]), len(two["seen"])) > 0.4 * 2 * questions
    # Dropout is not the same in both.
    assert not torch.equal(one["random"], two["random"])


@pytest.mark.slow
def test_sigterm_to_torchrun_saves_and_resumes(make_spec, torchrun, tmp_path):
    changes = {"train.epochs": 10, "train.log_steps": 1, "train.checkpoint_steps": 10**6}
    spec = make_spec(changes | {"eval.every_epochs": 10})
    (tmp_path / "spec.toml").write_text(dump_spec(spec))
    process = torchrun("-m", "hacore", "run", "spec.toml")
    deadline = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
        if any(path.stat().st_size for path in tmp_path.glob("runs/tiny/2*/metrics.jsonl")):
            break
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=600)
    assert process.returncode != 0, output
    folder = the_run(tmp_path)
    step = load_tensors(folder.last)[1]["step"]
    assert 0 < step < 80
    assert step == len(folder.metrics_file.read_text().splitlines())
    finished(torchrun("-m", "hacore", "run", "--resume", folder.path))
    assert folder.result()["training"]["steps"] == 80
