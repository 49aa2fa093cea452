"""``benchmarks/public_rn.py``: a public network's weights in a run give that network's answers."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hacore_clevr import GenerateConfig
from hacore_clevr.domain import ANSWERS
from hacore_clevr.generate.command import generate

import hacore
from hacore.data import make_batch
from hacore.data_tools import Silent
from hacore.errors import DataError, HacoreError
from hacore.measure.predict import predict

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "public_rn.py"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("public_rn", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_network():
    """Weights of the public format, with its names and shapes."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape, scale=1.0):
        return scale * torch.randn(shape, generator=draw)

    state, channels = {}, 3
    for layer in range(1, 5):
        state[f"conv.conv{layer}.weight"] = normal(24, channels, 3, 3, scale=0.2)
        state[f"conv.conv{layer}.bias"] = normal(24)
        state[f"conv.batchNorm{layer}.weight"] = normal(24)
        state[f"conv.batchNorm{layer}.bias"] = normal(24, scale=0.3)
        state[f"conv.batchNorm{layer}.running_mean"] = normal(24)
        state[f"conv.batchNorm{layer}.running_var"] = normal(24).square() + 0.5
        channels = 24
    state["text.wembedding.weight"] = normal(83, 32)
    for part, width in (("ih", 32), ("hh", 128)):
        state[f"text.lstm.weight_{part}_l0"] = normal(512, width, scale=0.1)
        state[f"text.lstm.bias_{part}_l0"] = normal(512, scale=0.1)
    sizes = {f"g_layers.{layer}": (256, 256) for layer in range(1, 4)}
    sizes |= {"g_layers.0": (256, 180), "f_fc1": (256, 256), "f_fc2": (256, 256), "f_fc3": (28, 256)}
    for name, (rows, columns) in sizes.items():
        # The first layer of f reads a sum over 4096 pairs.
        scale = 1e-3 if name == "f_fc1" else (2 / columns) ** 0.5
        state[f"rl.{name}.weight"] = normal(rows, columns, scale=scale)
        state[f"rl.{name}.bias"] = normal(rows, scale=0.1)
    return {f"module.{name}": tensor for name, tensor in state.items()}


def plain_logits(state, words, pixels_3HW, question):
    """(28,): the public network on one picture and one question, every pair by concatenation."""

    def get(name):
        return state[f"module.{name}"]

    x = torch.from_numpy(pixels_3HW.astype(np.float32))[None] / 255
    for layer in range(1, 5):
        x = F.conv2d(x, get(f"conv.conv{layer}.weight"), get(f"conv.conv{layer}.bias"), 2, 1)
        mean, var = get(f"conv.batchNorm{layer}.running_mean"), get(f"conv.batchNorm{layer}.running_var")
        x = (x - mean.view(1, -1, 1, 1)) / (var.view(1, -1, 1, 1) + 1e-5).sqrt()
        x = x * get(f"conv.batchNorm{layer}.weight").view(1, -1, 1, 1)
        x = (x + get(f"conv.batchNorm{layer}.bias").view(1, -1, 1, 1)).relu()
    side = x.shape[-1]
    cells = [
        torch.cat([x[0, :, row, column], torch.tensor([place[column], place[row]])])
        for place in [[-side / 2 + step * side / (side - 1) for step in range(side)]]
        for row in range(side)
        for column in range(side)
    ]
    h = c = torch.zeros(128)
    for word in reversed(re.sub(r"([.,;:!?()])", r" \1 ", question).lower().split()):
        # A word that the network does not know has a vector of zeros.
        vector = get("text.wembedding.weight")[words[word]] if word in words else torch.zeros(32)
        gates = get("text.lstm.weight_ih_l0") @ vector + get("text.lstm.bias_ih_l0")
        i, f, g, o = (gates + get("text.lstm.weight_hh_l0") @ h + get("text.lstm.bias_hh_l0")).chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    first, second = (
        torch.stack(cells).repeat(len(cells), 1),
        torch.stack(cells).repeat_interleave(len(cells), 0),
    )
    x = torch.cat([first, second, h.expand(len(first), -1)], 1)
    for layer in range(4):
        x = F.linear(x, get(f"rl.g_layers.{layer}.weight"), get(f"rl.g_layers.{layer}.bias")).relu()
    x = x.sum(0)
    for name in ("f_fc1", "f_fc2"):
        x = (get(f"rl.{name}.weight") @ x + get(f"rl.{name}.bias")).relu()
    return get("rl.f_fc3.weight") @ x + get("rl.f_fc3.bias")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("public") / "original_fp.pth"
    torch.save(random_network(), path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "clevr"
    generate(
        GenerateConfig(
            images=4, val_images=1, test_images=1, questions_per_image=4, output=str(root), workers=1
        ),
        Silent(),
    )
    return root


@pytest.fixture
def trained(program, weights, data, tmp_path, monkeypatch):
    monkeypatch.setenv("HACORE_CACHE", str(tmp_path / "cache"))
    folder = program.make_run(weights, tmp_path / "runs")
    return hacore.load(folder, device="cpu").with_data(root=str(data), dev_images=0)


def test_the_run_has_the_logits_and_the_accuracy_of_the_network(program, trained, weights, data):
    words = {word: number for number, word in enumerate(program.THEIR_WORDS, 1)}
    dataset, state = trained.dataset, torch.load(weights, weights_only=True)
    asked = json.loads((data / "questions" / "CLEVR_train_questions.json").read_text())["questions"]
    numbers = [program.THEIR_ANSWERS.index(answer) for answer in ANSWERS]
    expected_QA = torch.stack(
        [
            plain_logits(state, words, dataset.images("train")[one["image_index"]], one["question"])
            for one in asked
        ]
    )[:, numbers]
    questions = dataset.questions("train")
    batch = make_batch(questions, dataset.images("train"), np.arange(len(questions)))
    logits_QA = predict(trained.model, batch, trained.precision).logits_QA
    assert expected_QA.std(0).min() > 0.01  # the questions make a difference
    torch.testing.assert_close(logits_QA, expected_QA, atol=1e-3, rtol=0)
    right = [ANSWERS[row.argmax()] == one["answer"] for row, one in zip(expected_QA, asked, strict=True)]
    measured = hacore.evaluate_run(trained, split="train")
    assert measured.accuracy == pytest.approx(sum(right) / len(right))


def test_it_says_what_it_made(program, weights, tmp_path, capsys):
    program.main([str(weights), "--runs", str(tmp_path)])
    (folder,) = (tmp_path / "clevr_rn").iterdir()
    assert f"hacore eval {folder}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("module.rl.f_fc2.weight"), "rl.f_fc2.weight"),
        (lambda state: state.update({"module.rl.f_fc3.bias": torch.zeros(10)}), "10 answers, not 82 and 28"),
        (lambda state: state.update({"module.rl.f_fc2.bias": torch.zeros(3)}), "head.2.bias"),
    ],
)
def test_weights_of_another_network_leave_no_run(program, tmp_path, change, named):
    state = random_network()
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(HacoreError, match=named):
        program.make_run(tmp_path / "other.pth", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_no_weights_is_named(program, tmp_path):
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
    with pytest.raises(DataError, match=r"page\.pth.*web page"):
        program.make_run(tmp_path / "page.pth", tmp_path / "runs")
