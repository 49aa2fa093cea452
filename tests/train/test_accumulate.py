"""A step in parts, ``train.accumulate``: the gradient of the whole, with the memory of a part."""

import json
import signal

import attrs
import pytest
import torch
from hacore_l2_topk.l2_topk import L2TopK

import hacore
from hacore.machine.files import load_tensors
from hacore.train import trainer

# No batch norm and no dropout, so that a question's answer does not depend on the other questions.
ALONE = {
    "train.steps": 1,
    "train.log_steps": 1,
    "train.clip_norm": 0.0,
    "head.dropout": 0.0,
    "image_encoder.norm": "group",
    "image_encoder.groups": 2,
    "fuser": {"use": "add", "width": 8},
}


@attrs.frozen
class Step:
    """The first step of a training. images: of each pass. line: of metrics.jsonl."""

    gradient: dict
    images: list
    line: dict


@pytest.fixture
def first_step(make_spec, tmp_path, monkeypatch):
    """first_step(changes) trains a step of ``ALONE`` and tells what came of it."""

    def run(changes):
        gradient, images = {}, []
        make_optimizer, make_batch = trainer.make_optimizer, trainer.make_batch

        def noted_optimizer(model, config):
            optimizer = make_optimizer(model, config)
            optimizer.register_step_pre_hook(
                lambda *_: gradient.update((name, p.grad.clone()) for name, p in model.named_parameters())
            )
            return optimizer

        def noted_batch(*arguments):
            batch = make_batch(*arguments)
            images.append(len(batch.images))
            return batch

        with monkeypatch.context() as patch:
            patch.setattr(trainer, "make_optimizer", noted_optimizer)
            patch.setattr(trainer, "make_batch", noted_batch)
            folder, _ = hacore.run(
                make_spec({**ALONE, **changes}), runs=tmp_path / "runs", device="cpu", report=False
            )
        line = json.loads(folder.metrics_file.read_text().splitlines()[0])
        return Step(gradient, images, line)

    return run


@pytest.mark.parametrize(
    ("accumulate", "images"), [(2, [2, 2]), (3, [2, 1, 1]), (4, [1, 1, 1, 1]), (9, [1, 1, 1, 1])]
)
@pytest.mark.parametrize("own_loss", [False, True])
def test_the_gradient_of_the_parts_is_that_of_one_pass(first_step, monkeypatch, accumulate, images, own_loss):
    """With more parts than images, too; the selector's own loss is a mean over the questions as well."""
    select = L2TopK.forward

    def with_loss(self, cells, question):
        selection = select(self, cells, question)
        return attrs.evolve(selection, loss=selection.features_QKC.square().mean())

    if own_loss:
        monkeypatch.setattr(L2TopK, "forward", with_loss)
    whole, parts = first_step({}), first_step({"train.accumulate": accumulate})
    assert (whole.images, parts.images) == ([4], images)
    assert whole.gradient.keys() == parts.gradient.keys()
    assert any(gradient.any() for gradient in whole.gradient.values())
    for name, gradient in whole.gradient.items():
        # Within the rounding of float32: as a share of the largest entry.
        apart = (parts.gradient[name] - gradient).abs().max() / gradient.abs().max().clamp(min=1e-6)
        assert apart < 1e-4, name
    assert parts.line["loss"] == pytest.approx(whole.line["loss"], rel=1e-5)
    for key in ("step", "kind", "epoch", "accuracy", "lr"):
        assert parts.line[key] == whole.line[key]
    assert parts.line["kept"] == pytest.approx(whole.line["kept"])


def test_parts_of_unequal_numbers_of_questions_count_by_their_questions(first_step):
    """Visits of seven and of six of the twenty questions of an image; the last part is the smallest."""
    changes = {"train.questions_per_image": 7, "train.batch_images": 5}
    whole = first_step(changes)
    parts = first_step({**changes, "train.accumulate": 3})
    assert len(parts.images) == 3
    for name, gradient in whole.gradient.items():
        apart = (parts.gradient[name] - gradient).abs().max() / gradient.abs().max().clamp(min=1e-6)
        assert apart < 1e-4, name


def test_it_is_clipped_as_a_whole(first_step):
    parts = first_step({"train.accumulate": 4, "train.clip_norm": 0.01})
    norm = torch.stack([gradient.square().sum() for gradient in parts.gradient.values()]).sum().sqrt()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


RESUMED = {
    "train.accumulate": 3,
    "train.shift": 2,
    "train.rotation": 0.05,
    "train.average": 0.8,
    "train.steps": 14,
}


# The third part of the fourth step, and the first of the ninth.
@pytest.mark.parametrize(("call", "step"), [(12, 4), (25, 9)])
def test_resuming_stays_exact(make_spec, uninterrupted, assert_same, monkeypatch, tmp_path, call, step):
    """With dropout, batch norm and moved images, which draw random numbers in every part."""
    count = iter(range(1, 10**6))
    make_batch = trainer.make_batch

    def counting(*arguments):
        if next(count) == call:
            signal.raise_signal(signal.SIGINT)
        return make_batch(*arguments)

    folders = []
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "make_batch", counting)
        _, result = hacore.run(
            make_spec(RESUMED), runs=tmp_path / "runs", device="cpu", created=folders.append
        )
    assert result is None
    (folder,) = folders
    assert load_tensors(folder.last)[1]["step"] == step  # a step is never left half done
    hacore.run(make_spec(RESUMED), resume=folder, device="cpu")
    assert_same(folder, uninterrupted(RESUMED))
