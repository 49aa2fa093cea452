"""Pictures of which a channel never changes: they train, and the channel is zeros to the encoder."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

import hacore as library
from hacore.interfaces import FLAT, Sizes

SPEC = """name = "flat"
data = {{ use = "vqa-v2", root = "{root}", size = [32, 32] }}
image_encoder = {{ use = "small-cnn", channels = [8, 8], strides = [2, 2] }}
question_encoder = {{ use = "lstm", embedding = 8, hidden = 8 }}
fuser = {{ use = "multiply", width = 8 }}
selector = {{ use = "l2-topk", k = 4 }}
aggregator = {{ use = "sum-pool" }}
train = {{ steps = 3, threads = 1, batch_images = 4, warmup_steps = 0 }}
eval = {{ final_split = "val", baseline_steps = 0 }}
"""


def red_and_green(pixels):
    pixels[..., 2] = 0


def one_grey_ramp(pixels):
    pixels[..., 1:] = 255


def one_bright_pixel(pixels):
    pixels[..., 2] = 0
    pixels[0, 0, 2] = 1


def black(pixels):
    pixels[:] = 0


@pytest.mark.parametrize("change", [red_and_green, one_grey_ramp, one_bright_pixel, black])
def test_a_channel_that_never_changes_is_no_reason_to_stop(v2, tmp_path, hacore, change):
    for path in v2.rglob("*.jpg"):
        pixels = np.array(Image.open(path).convert("RGB"))
        change(pixels)
        Image.fromarray(pixels).save(path, "PNG")
    (tmp_path / "spec.toml").write_text(SPEC.format(root=v2))
    status, _, err = hacore("run", tmp_path / "spec.toml", "--runs", tmp_path / "runs", "--device", "cpu")
    assert status == 0, err
    (folder,) = (tmp_path / "runs" / "flat").iterdir()
    losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert losses
    assert all(map(math.isfinite, losses))
    trained = library.load(str(folder))
    pixels = torch.from_numpy(np.array(trained.dataset.images("train")[:3]))
    normal = trained.model.image_encoder.normalise(pixels)
    assert normal.isfinite().all()
    assert normal.abs().max() < 33  # one pixel in 32 x 32 lies 32 deviations off
    reply = trained.ask(path, "what color are the discs?")  # of a run folder, from its inputs.json
    assert all(math.isfinite(answer.probability) for answer in reply.answers)


def test_only_deviations_of_no_change_are_replaced():
    sizes = Sizes(image=(3, 4, 4), image_std=(0.0, FLAT, 0.2), words=5, answers=2)
    assert sizes.image_std == (1.0, FLAT, 0.2)
