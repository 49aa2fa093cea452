"""Examples in memory as a dataset: from arrays to a run, and what is asked for again afterwards."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import hacore
from hacore.data import Dataset
from hacore.errors import DataError, HacoreError

COLOURS = {"red": (200, 20, 20), "green": (20, 180, 20), "blue": (20, 20, 220)}


def picture(colour, number):
    """(12, 16, 3), each number another one."""
    array = np.full((12, 16, 3), COLOURS[colour], np.uint8)
    array[number % 12, number % 16] = number
    return array


@pytest.fixture(scope="module")
def examples():
    return [(picture(colour, n), "what colour is it?", colour) for n in range(10) for colour in COLOURS]


@pytest.fixture(scope="module")
def mine(examples):
    return hacore.in_memory(examples, size=(16, 16), name="colours")


@pytest.fixture(scope="module")
def ran(mine, small_table, tmp_path_factory):
    encoder = {"use": "small-cnn", "channels": [4], "strides": [4]}
    spec = small_table(
        "mine",
        image_encoder=encoder,
        selector={"use": "l2-topk", "k": 2},
        train={"steps": 2, "threads": 1},
        eval={"baseline_steps": 1},
    )
    del spec["data"]
    return hacore.run(
        spec, dataset=mine, runs=tmp_path_factory.mktemp("runs"), device="cpu", quiet=True, report=False
    )


def test_pictures_come_in_every_form(examples):
    forms = [
        lambda array: array,
        Image.fromarray,
        lambda array: torch.from_numpy(array.transpose(2, 0, 1)),
    ]
    datasets = [
        hacore.in_memory([(form(array), *others) for array, *others in examples], size=(16, 16))
        for form in forms
    ]
    assert len({dataset.fingerprint for dataset in datasets}) == 1
    assert sum(len(datasets[0].questions(split)) for split in datasets[0].splits) == 30
    assert datasets[0].images("train").shape[1:] == (3, 16, 16)


def test_a_picture_that_occurs_twice_is_kept_once_and_in_one_split():
    pictures = [picture("red", n) for n in range(10)]
    pairs = [(each.copy(), question, 1) for each in pictures for question in ("is it red?", "is it one?")]
    dataset = hacore.in_memory(pairs, size=(16, 16))
    assert len(np.unique(dataset.images("train"), axis=0)) <= 10
    used = [set(dataset.questions(split).image.tolist()) for split in dataset.splits]
    assert sum(len(rows) for rows in used) == 10


def test_splits_may_be_given(examples):
    dataset = hacore.in_memory({"train": examples[:20], "val": examples[20:24], "test": examples[24:]})
    assert [len(dataset.questions(split)) for split in dataset.splits] == [20, 4, 6]


def test_every_example_that_is_wrong_is_named(examples, names):
    wrong = [*examples, (np.zeros((2, 2), np.int64), "what?", "x"), (picture("red", 1), " ", "x")]
    with pytest.raises(DataError) as error:
        hacore.in_memory(wrong)
    first, second = str(error.value).splitlines()
    names(first, "item 31", "int64")
    names(second, "item 32", "question", "empty")
    for value, part in (([("a.png", "what?")], "item 1"), ({"dev": examples}, "dev"), ([], "no examples")):
        with pytest.raises(DataError, match=part):
            hacore.in_memory(value)


def test_the_run_records_what_the_data_were(ran, mine):
    folder, result = ran
    assert folder.spec().data.use == result.data.dataset == "in-memory"
    assert result.data.fingerprint == mine.fingerprint
    record = json.loads(folder.environment_file.read_text())["dataset"]
    assert record["name"] == "colours"
    assert record["fingerprint"] == mine.fingerprint
    assert record["train"] == len(mine.questions("train"))


def test_evaluation_asks_for_the_data_and_questions_do_not(ran, mine, examples, names, cli):
    folder, result = ran
    names(cli("eval", folder.path).error, "in-memory", "dataset=")
    with pytest.raises(HacoreError, match="in-memory"):
        hacore.eval(folder)
    assert hacore.eval(folder, dataset=mine).accuracy == result.accuracy
    assert hacore.load(folder.path).ask(examples[0][0], "what colour is it?").answer in COLOURS
    assert hacore.run(resume=folder.path, dataset=mine, quiet=True)[1].accuracy == result.accuracy


def test_a_class_with_words_of_its_own_is_needed_for_questions(ran, mine, examples):
    folder, _ = ran

    class Spelled(type(mine)):
        @staticmethod
        def split_words(question):
            return Dataset.split_words(question.replace("colour", "color"))

    inputs = json.loads(folder.inputs_file.read_text())
    before = folder.inputs_file.read_text()
    folder.inputs_file.write_text(json.dumps({**inputs, "own_words": True}))
    try:
        trained = hacore.load(folder)
        with pytest.raises(HacoreError, match="in-memory"):
            trained.ask(examples[0][0], "what colour is it?")
        mine_too = Spelled.__new__(Spelled)
        mine_too.__dict__.update(vars(mine))
        reply = trained.with_dataset(mine_too).ask(examples[0][0], "what colour is it?")
        assert reply.unknown == ("color",)
    finally:
        folder.inputs_file.write_text(before)


def test_what_is_no_dataset_is_refused(small_table, names, mine):
    with pytest.raises(HacoreError) as error:
        hacore.check(small_table("mine"), dataset=[1, 2])
    names(str(error.value), "dataset", "list", "vocabulary", "hacore.in_memory")
    spec = small_table("mine", selector={"use": "all-cells"}, train={"processes": 2})
    with pytest.raises(HacoreError) as error:
        hacore.run(spec, dataset=mine, device="cpu", quiet=True)
    names(str(error.value), "train.processes", "2", "torchrun")
