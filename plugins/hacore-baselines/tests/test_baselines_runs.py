"""Random and relevant cells from a training to the predictions."""

import attrs
import numpy as np
import pytest
from hacore_report.predictions import read_predictions

import hacore
from hacore.workflow import evaluate_run


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    overrides = [*tiny, "selector={ use = 'random-k', k = 4 }", "name=random"]
    spec = hacore.load_spec("experiments/han_sum.toml", overrides)
    folder, _ = hacore.run(spec, runs=tmp_path_factory.mktemp("runs"), device="cpu", report=False)
    return hacore.load(folder, device="cpu")


def cells(trained):
    """{id of a question: its kept cells} of the predictions on test."""
    lines = read_predictions(trained.folder.predictions_file("test", trained.spec))
    return {line.id: tuple(sorted(line.cells)) for line in lines}


def test_every_look_at_a_question_sees_the_same_random_cells(trained):
    first = cells(trained)
    assert len(set(first.values())) > len(first) / 2
    evaluation = attrs.evolve(trained.spec.eval, batch_images=1)
    evaluate_run(attrs.evolve(trained, spec=attrs.evolve(trained.spec, eval=evaluation)))
    assert cells(trained) == first
    other = trained.with_selector(seed=1)
    evaluate_run(other)
    assert cells(other) != first


def test_the_same_question_about_another_image_sees_others(trained):
    questions = trained.dataset.questions("test")
    kept = cells(trained)
    by_words = {}
    every = [tuple(words) for words in np.split(questions.words, questions.offsets[1:-1])]
    for number, image, words in zip(questions.ids, questions.image, every, strict=True):
        by_words.setdefault(words, {})[int(image)] = kept[int(number)]
    repeated = [images for images in by_words.values() if len(images) > 1]
    assert repeated
    assert all(len(set(images.values())) == len(images) for images in repeated)
