"""The one place in which models are run."""

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hacore
from hacore.data import Dataset, Questions, make_batch
from hacore.machine.processes import World
from hacore.measure.predict import (
    batches,
    evaluating,
    precision_name,
    precision_of,
    predict,
    saved_precision,
)
from hacore.objects import Objects
from hacore.spec import TrainConfig


@pytest.fixture(scope="module")
def spec(small_table):
    return hacore.resolve(small_table("predict", head={"hidden": [16], "dropout": 0.4}))


@pytest.fixture(scope="module")
def dataset(spec):
    return hacore.open_dataset(spec.data)


@pytest.fixture(scope="module")
def model(spec, dataset):
    torch.manual_seed(0)
    return hacore.compose(spec, dataset.sizes())


@pytest.fixture
def batch(dataset):
    return make_batch(dataset.questions("val"), dataset.images("val"), np.array([3, 0, 41, 79, 22]))


def by_hand(model, batch):
    """A call of the model with nothing around."""
    return model(batch.images, batch.words_QT, batch.lengths_Q, batch.image_index_Q, batch.image_id_Q)


def test_in_float32_it_is_a_plain_call(model, batch):
    with evaluating(model):
        output, expected = predict(model, batch), by_hand(model, batch)
    assert output.logits_QA.dtype == torch.float32
    assert output.logits_QA.shape == (5, 10)
    assert torch.equal(output.logits_QA, expected.logits_QA)
    assert torch.equal(output.selection.index_QK, expected.selection.index_QK)
    assert torch.equal(output.selection.features_QKC, expected.selection.features_QKC)


def test_in_bfloat16_it_is_a_call_under_autocast_with_logits_in_float32(model, batch):
    with evaluating(model):
        output, full = predict(model, batch, torch.bfloat16), predict(model, batch)
        with torch.autocast("cpu", torch.bfloat16):
            expected = by_hand(model, batch)
    assert expected.logits_QA.dtype == torch.bfloat16
    assert output.logits_QA.dtype == torch.float32
    assert torch.equal(output.logits_QA, expected.logits_QA.float())
    assert torch.equal(output.selection.index_QK, expected.selection.index_QK)
    assert not torch.equal(output.logits_QA, full.logits_QA)


def test_float32_means_no_autocast_even_where_others_ask_for_it(model, batch):
    with evaluating(model):
        expected = predict(model, batch)
        with torch.autocast("cpu", torch.bfloat16):
            output = predict(model, batch)
    assert torch.equal(output.logits_QA, expected.logits_QA)


def test_gradients_flow_unless_it_is_evaluated(model, batch):
    assert predict(model, batch).logits_QA.requires_grad
    with evaluating(model):
        assert not predict(model, batch).logits_QA.requires_grad


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_model_is_told_the_images_and_the_relevant_cells_of_the_batch(model, batch, precision):
    """Whoever looks at them gets them; here a module that only writes down what it is called with."""
    arguments = {}

    class Notes(torch.nn.Module):
        grid = (5, 5)

        def forward(self, images, words_QT, lengths_Q, image_index_Q, image_id_Q, relevant_QN):
            arguments.update(image_id_Q=image_id_Q, relevant_QN=relevant_QN)
            return by_hand(model, batch)

    boxes_IO4 = torch.tensor([0.0, 0.0, 0.1, 0.1]).expand(len(batch.images), 2, 4)
    relevant_QO = torch.tensor([[False, True]]).expand(5, 2)
    predict(Notes(), attrs.evolve(batch, boxes_IO4=boxes_IO4, relevant_QO=relevant_QO), precision)
    assert torch.equal(arguments["image_id_Q"], batch.image_id_Q)
    assert arguments["relevant_QN"].nonzero().tolist() == [[question, 0] for question in range(5)]
    predict(Notes(), batch, precision)
    assert arguments["relevant_QN"] is None


@pytest.mark.parametrize("training", [True, False])
def test_evaluating_gives_the_mode_back(model, training):
    model.train(training)
    try:
        with evaluating(model):
            assert not any(part.training for part in model.modules())
            assert not torch.is_grad_enabled()
        assert {part.training for part in model.modules()} == {training}
        assert torch.is_grad_enabled()
    finally:
        model.eval()


@pytest.mark.parametrize("training", [True, False])
def test_evaluating_gives_the_mode_back_after_an_exception_too(model, training):
    model.train(training)
    try:
        with pytest.raises(KeyError, match="no luck"), evaluating(model):
            raise KeyError("no luck")
        assert {part.training for part in model.modules()} == {training}
        assert torch.is_grad_enabled()
    finally:
        model.eval()


@pytest.mark.parametrize(
    ("precision", "device", "fast", "expected"),
    [
        ("auto", "cpu", True, torch.bfloat16),
        ("auto", "cpu", False, torch.float32),
        ("auto", "cuda", False, torch.bfloat16),
        ("auto", "mps", True, torch.float32),
        ("float32", "cuda", True, torch.float32),
        ("float32", "cpu", True, torch.float32),
        ("bfloat16", "cpu", False, torch.bfloat16),
    ],
)
def test_the_precision_of_a_training_that_begins(cpu_multiplies_bfloat16, precision, device, fast, expected):
    cpu_multiplies_bfloat16(fast)
    assert precision_of(TrainConfig(precision=precision), torch.device(device)) == expected


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize("chosen", ["auto", "float32", "bfloat16"])
def test_the_precision_of_a_checkpoint(cpu_multiplies_bfloat16, chosen, device, fast):
    """What it says, whatever the machine; of earlier versions, which said nothing, what these did."""
    cpu_multiplies_bfloat16(fast)
    config, place = TrainConfig(precision=chosen), torch.device(device)
    assert saved_precision("bfloat16", config, place) == torch.bfloat16
    assert saved_precision("float32", config, place) == torch.float32
    earlier = {"auto": "bfloat16" if device == "cuda" else "float32"}.get(chosen, chosen)
    assert precision_name(saved_precision("", config, place)) == earlier
    assert precision_name(saved_precision(None, config, place)) == earlier


class Asked(Dataset):
    """Questions about these images, whose one pixel is the number of the image."""

    def __init__(self, image):
        self.image = np.array(image, np.int64)
        self.size = int(self.image.max(initial=0)) + 1

    def questions(self, split):
        count = len(self.image)
        nothing = np.zeros(count, np.int64)
        offsets = np.arange(count + 1)
        words = np.full(count, 2)
        return Questions(
            words=words,
            offsets=offsets,
            image=self.image,
            answer=nothing,
            type=nothing,
            ids=offsets[:-1],
        )

    def images(self, split):
        return np.arange(self.size, dtype=np.uint8).reshape(-1, 1, 1, 1)

    def objects(self, split):
        boxes_IO4 = np.arange(self.size, dtype=np.float32).reshape(-1, 1, 1).repeat(4, 2)
        relevant_QO = (np.arange(len(self.image)) % 2 > 0).reshape(-1, 1)
        return Objects(boxes_IO4=boxes_IO4, relevant_QO=relevant_QO)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 12), st.integers(1, 4))
def test_processes_share_every_question_once(image, batch_images, processes):
    split = Asked(image)
    shares = [
        list(batches(split, "test", batch_images, world=World(rank=rank, processes=processes)))
        for rank in range(processes)
    ]
    alone = list(batches(split, "test", batch_images))
    together = [batch.row_Q.tolist() for share in shares for batch in share]
    assert sorted(row for rows in together for row in rows) == list(range(len(image)))
    assert sorted(together) == sorted(batch.row_Q.tolist() for batch in alone)
    counts = [len(share) for share in shares]
    assert max(counts) - min(counts) <= 1
    for batch in alone:
        # All questions of an image are in one batch, with their image.
        named = split.image[batch.row_Q]
        assert len(set(named.tolist())) == len(batch.images) <= batch_images
        assert batch.images.flatten()[batch.image_index_Q].tolist() == named.tolist()
        assert batch.image_id_Q.tolist() == named.tolist()
        assert np.isin(split.image, named).sum() == len(batch)
        assert batch.boxes_IO4 is None
        assert batch.relevant_QO is None


def test_only_an_oracle_s_batches_tell_of_objects():
    split = Asked([3, 1, 1, 0, 3])
    (batch,) = batches(split, "test", 10, oracle=True)
    assert batch.row_Q.tolist() == [3, 1, 2, 0, 4]
    assert batch.boxes_IO4[:, 0, 0].tolist() == [0, 1, 3]
    assert batch.relevant_QO.flatten().tolist() == [True, True, False, False, False]
