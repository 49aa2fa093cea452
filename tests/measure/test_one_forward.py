"""The gallery, the predictions, ``ask`` and an exported model tell the same of a run's questions.

In bfloat16 and on a store of features, where a second way to run a model would show.
"""

import base64
import html
import io
import json
import re
import shutil

import attrs
import numpy as np
import pytest
import torch
import torchvision
from hacore_features.make import make_features
from PIL import Image

import hacore
from hacore.features.store import FeatureStore
from hacore.measure.predict import likeliest
from hacore.measure.reading import question_text
from hacore.runs.trained import Trained

TABLE = {
    "name": "one",
    "seed": 3,
    "data": {"use": "sort-of-clevr", "images": 60, "held_out": 20, "validation": 6},
    "image_encoder": {"use": "small-cnn", "channels": [8, 16], "strides": [4, 2]},
    "question_encoder": {"use": "lstm", "embedding": 8, "hidden": 16},
    "fuser": {"use": "multiply", "width": 16},
    "selector": {"use": "l2-topk", "k": 6},
    "aggregator": {"use": "rn", "width": 16},
    "train": {"batch_images": 4, "epochs": 6, "lr": 0.003, "warmup_steps": 4, "threads": 1},
    "eval": {"every_epochs": 6, "baseline_steps": 2},
}


@attrs.frozen
class Run:
    """A finished run with what it recorded of the split test."""

    trained: Trained
    records: list
    page: str


@pytest.fixture(scope="module", params=["bfloat16", "bfloat16 on features", "float32 on features"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    table = json.loads(json.dumps(TABLE))
    precision, _, features = request.param.partition(" on ")
    table["train"]["precision"] = precision
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    if features:
        torch.manual_seed(0)
        torch.save(torchvision.models.resnet18(weights=None).state_dict(), folder / "resnet.pth")
        weights = str(folder / "resnet.pth")
        table["image_encoder"] = {
            "use": "resnet",
            "depth": 18,
            "stage": 1,
            "weights": weights,
            "pool": [5, 5],
        }
        # All images of a split at once, as they are encoded below.
        make_features(hacore.resolve(table), folder / "store", device="cpu", batch_images=20)
        table["features"] = {"root": str(folder / "store")}
    run_folder, _ = hacore.run(hacore.resolve(table), runs=folder / "runs", device="cpu")
    lines = run_folder.predictions_file("test").read_text().splitlines()
    yield Run(
        hacore.load(run_folder, device="cpu"),
        [json.loads(line) for line in lines],
        run_folder.report_file.read_text(),
    )
    torch.set_num_threads(before)


def questions(trained):
    """The text of every question of the split test."""
    dataset = trained.dataset
    asked = dataset.questions("test")
    return [
        question_text([dataset.vocabulary[word] for word in asked.words[first:last]])
        for first, last in zip(asked.offsets[:-1], asked.offsets[1:], strict=True)
    ]


def test_ask_gives_what_was_recorded(run):
    trained = run.trained
    assert trained.precision == getattr(torch, trained.spec.train.precision)
    pictures = [image.transpose(1, 2, 0) for image in np.asarray(trained.dataset.images("test"))]
    asked = trained.dataset.questions("test")
    pairs = list(zip([pictures[image] for image in asked.image], questions(trained), strict=True))
    # One batch, as the evaluation's, so that not even the rounding differs.
    replies = trained.ask_many(pairs, batch=len(pairs))
    for record, reply in zip(run.records, replies, strict=True):
        assert reply.answer == record["prediction"]
        assert round(reply.answers[0].probability, 6) == pytest.approx(record["probability"], abs=5e-6)
        assert [cell.index for cell in reply.kept] == record["cells"]


def test_a_question_asked_alone_differs_by_rounding_only(run):
    trained = run.trained
    images, texts = trained.dataset.images("test"), questions(trained)
    asked = trained.dataset.questions("test")
    same = []
    for row in range(0, len(texts), 7):
        reply = trained.ask(np.asarray(images[asked.image[row]]).transpose(1, 2, 0), texts[row])
        recorded = run.records[row]
        chances = {candidate.answer: candidate.probability for candidate in reply.answers}
        assert chances[recorded["prediction"]] == pytest.approx(recorded["probability"], abs=0.06)
        same.append(reply.answer == recorded["prediction"])
    assert np.mean(same) > 0.9


def test_the_gallery_shows_what_was_recorded(run):
    recorded = {record["id"]: record for record in run.records}
    cards = re.findall(
        r'<li class="card" data-question="(\d+)" data-answer="([^"]*)"(.*?)</li>\s*'
        r'(?=<li class="card"|</ul>\s*</section>)',
        run.page,
        re.DOTALL,
    )
    assert len(cards) > 30
    for number, answer, card in cards:
        record = recorded[int(number)]
        assert html.unescape(answer) == record["prediction"]
        first = re.search(r"<li><span>(.*?)</span>.*?<span>([\d.]+)%</span></li>", card, re.DOTALL)
        assert html.unescape(first[1]) == record["prediction"]
        assert float(first[2]) == pytest.approx(100 * record["probability"], abs=0.051)
        assert f"{record['kept']} of 25 cells kept" in card or f"{record['kept']} of 100 cells kept" in card


def darkened(page):
    """(id, darkness of each cell) of every card of a page."""
    pattern = (
        r'data-question="(\d+)".*?<use href="#image-\d+"/>\s*<image href="data:image/png;base64,([^"]+)"'
    )
    for number, data in re.findall(pattern, page, re.DOTALL):
        picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")
        yield int(number), np.asarray(picture)[..., 3].reshape(-1)


def test_the_gallery_darkens_what_was_not_kept(run):
    recorded = {record["id"]: record for record in run.records}
    pictures = list(darkened(run.page))
    assert len(pictures) > 30
    for number, darkness in pictures:
        assert set(np.flatnonzero(darkness == 0)) == set(recorded[number]["cells"])


def test_the_gallery_reads_the_record(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run.trained.folder.path, folder)
    changed = [
        {**record, "prediction": "6" if record["prediction"] != "6" else "5", "cells": [0, 1, 2]}
        for record in run.records
    ]
    (folder / "predictions" / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed))
    page = hacore.write_report(folder, device="cpu").read_text()
    assert set(re.findall(r'data-answer="([^"]*)"', page)) <= {"5", "6"}
    for _, darkness in darkened(page):
        assert set(np.flatnonzero(darkness == 0)) == {0, 1, 2}


def test_an_exported_model_gives_what_was_recorded(run, tmp_path):
    trained = run.trained
    exported = hacore.export(trained, tmp_path / "model.pt2", format="torch")
    program = torch.export.load(str(exported.file)).module()
    asked = trained.dataset.questions("test")
    lengths = np.diff(asked.offsets)
    words = np.zeros((len(lengths), lengths.max()), np.int64)
    words[np.arange(lengths.max()) < lengths[:, None]] = asked.words
    images = np.array(trained.dataset.images("test"))
    logits, kept, *_ = program(*map(torch.from_numpy, (images, words, lengths, asked.image)))
    probability, answer = logits.softmax(-1).max(-1)
    cells = [set(row) for row in kept.tolist()]
    overlap = [
        len(set(record["cells"]) & kept_cells) / len(kept_cells)
        for record, kept_cells in zip(run.records, cells, strict=True)
    ]
    agreeing = [
        trained.dataset.answers[number] == record["prediction"]
        for record, number in zip(run.records, answer.tolist(), strict=True)
    ]
    recorded = np.array([record["probability"] for record in run.records])
    if trained.precision == torch.float32:
        assert np.mean(overlap) > 0.99
        assert np.mean(agreeing) > 0.99
        np.testing.assert_allclose(probability.detach().numpy(), recorded, atol=0.01)
    else:  # the program is float32
        assert np.mean(overlap) > 0.9
        assert np.mean(agreeing) > 0.9


def test_of_equal_answers_the_first_is_named():
    logits_QA = torch.tensor([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0]])
    probability_QA, answer_QA = likeliest(logits_QA, 3)
    assert answer_QA.tolist() == [[1, 2, 0], [0, 1, 2]]
    torch.testing.assert_close(probability_QA, logits_QA.softmax(-1).gather(1, answer_QA))
    assert likeliest(logits_QA, 9)[1].shape == (2, 4)


def test_features_are_encoded_and_rounded_as_in_the_store(run):
    trained = run.trained
    root = trained.spec.features.root
    if root is None:
        assert trained.model.stored_dtype is None
        return
    images = torch.from_numpy(np.array(trained.dataset.images("test")))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = trained.model.encode(images).features
    stored = torch.from_numpy(FeatureStore.open(root).images("test")[:])
    assert stored.dtype == torch.float16
    assert (features == stored.float()).float().mean() > 0.999
