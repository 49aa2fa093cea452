"""What the page of a run says of its choice of cells."""

import html
import re
from statistics import fmean

import attrs
import numpy as np
import pytest
from hacore_report import _choice
from hacore_report._choice import Rival, choice_of, over_images, sample
from hacore_report._observer import ReportObserver
from hacore_report._statistics import difference
from hacore_report.predictions import read_predictions

import hacore


@pytest.fixture(scope="module")
def han(runs):
    """The model of HAN, 7 of 25 cells, and what its choice is worth on all 100 questions of split test."""
    trained = hacore.load(runs["han"], device="cpu")
    return trained, choice_of(trained, "test")


@pytest.fixture
def scored(monkeypatch):
    """scored(own, random, lowest): the score of every question, with these cells."""
    looked = _choice._looked

    def score(**scores):
        def look(trained, split, rows):
            value = scores[
                {"random-k": "random", "lowest-norm-k": "lowest"}.get(trained.spec.selector.use, "own")
            ]
            return attrs.evolve(looked(trained, split, rows), score_Q=np.full(len(rows), value))

        monkeypatch.setattr(_choice, "_looked", look)

    return score


def section(folder):
    """The text of the panel on the page of a run."""
    found = re.search(r'<section id="choice".*?</section>', folder.report_file.read_text(), re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", found[0])))


def test_accuracies_are_those_of_an_evaluation_with_other_cells(han, copied):
    _, choice = han
    own = copied.result().accuracy
    assert choice.accuracy == pytest.approx(own)
    assert [rival.name for rival in choice.rivals] == ["random cells", "cells of lowest norm"]
    for use, rival in zip(("random-k", "lowest-norm-k"), choice.rivals, strict=True):
        other = hacore.eval(copied, [f"selector.use={use}", "selector.k=7"], device="cpu").accuracy
        assert rival.accuracy == pytest.approx(other)
        assert rival.ahead.value == pytest.approx(own - other)
        assert (rival.ahead.images, rival.ahead.questions) == (5, 100)
    text = section(copied)
    for rival in choice.rivals:
        assert f" 7 {rival.name} {100 * rival.accuracy:.1f} {100 * rival.ahead.value:+.1f} " in text
    assert "On all 100 questions of the split, about 5 images" in text
    assert "Fewer than 20 images" in text


def test_places_and_objects_are_counted_one_by_one(han, runs):
    trained, choice = han
    rows, columns = choice.grid
    lines = read_predictions(runs["han"].predictions_file("test"))
    for row in range(rows):
        for column in range(columns):
            kept = fmean(row * columns + column in line.cells for line in lines)
            assert choice.by_place[row, column] == pytest.approx(kept)
    assert choice.chance == pytest.approx(7 / 25)

    boxes = trained.dataset.objects("test").boxes_IO4.tolist()

    def on_object(image, cell):
        row, column = divmod(cell, columns)
        return any(
            # An edge on the border of two cells is in one of them, whatever rounding says.
            min(right * columns, column + 1) - max(left * columns, column) > 2e-4
            and min(bottom * rows, row + 1) - max(top * rows, row) > 2e-4
            for left, top, right, bottom in boxes[image]
        )

    kept = [on_object(line.image, cell) for line in lines for cell in line.cells]
    every = [on_object(line.image, cell) for line in lines for cell in range(rows * columns)]
    assert choice.on_objects == pytest.approx((fmean(kept), fmean(every)))
    shares = (
        f"Of the kept cells {100 * fmean(kept):.1f} % lie on objects, of all cells {100 * fmean(every):.1f} %"
    )
    assert shares.replace(" %", "%") in section(runs["han"])


def test_what_is_kept_has_the_larger_norm(han, runs):
    _, choice = han
    least = np.where(choice.kept_QN, choice.presence_QN, np.inf).min(1)
    most = np.where(choice.kept_QN, -np.inf, choice.presence_QN).max(1)
    assert (least >= most).all()
    assert (choice.kept_QN.sum(1) == 7).all()
    page = runs["han"].report_file.read_text()
    for kept in (True, False):
        assert f"median {np.median(choice.presence_QN[choice.kept_QN == kept]):.3g}" in page


def test_an_adaptive_selector_meets_as_many_cells_as_its_mean(runs):
    lines = read_predictions(runs["adahan"].predictions_file("test"))
    mean = fmean(line.kept for line in lines)
    text = section(runs["adahan"])
    assert f" {round(mean)} random cells " in text
    assert f"by chance {100 * mean / 25:.1f}%" in runs["adahan"].report_file.read_text()


def test_a_selector_is_not_compared_with_itself(han):
    trained, _ = han
    choice = choice_of(trained.with_selector(use="random-k", k=7), "test")
    assert [rival.name for rival in choice.rivals] == ["cells of lowest norm"]


def test_nothing_is_said_where_nothing_is_dropped(han):
    trained, _ = han
    assert choice_of(trained.with_selector(use="all-cells"), "test") is None


@pytest.fixture
def ended(copied, caplog):
    """ended() ends the run again, and returns the text of the panel and the lines of the terminal."""

    def end():
        with caplog.at_level("INFO", logger="hacore"):
            ReportObserver(None, None).end(copied.result(), hacore.load(copied, device="cpu"))
        return section(copied), caplog.messages

    return end


def test_page_and_terminal_warn_where_other_cells_are_as_good(copied, ended, scored):
    scored(own=0.5, random=0.5, lowest=0.25)
    text, (line,) = ended()
    assert "Warning: the cells that this model keeps are not shown to be better than random cells" in text
    assert "(+0.0 points, 95% interval +0.0 to +0.0)" in text
    assert "than cells of lowest norm" not in text
    assert line.startswith(f"{copied.path}: the cells that this model keeps are not shown")


def test_the_page_warns_where_other_cells_are_better(ended, scored):
    scored(own=0.25, random=0.5, lowest=1.0)
    text, _ = ended()
    assert "worse than random cells (-25.0 points, 95% interval -25.0 to -25.0)" in text
    assert "and worse than cells of lowest norm (-75.0 points" in text


def test_nothing_warns_where_the_models_own_cells_are_better(ended, scored):
    scored(own=0.75, random=0.5, lowest=0.25)
    text, lines = ended()
    assert "Warning" not in text
    assert " its own 75.0 7 random cells 50.0 +25.0 +25.0 to +25.0 " in text
    assert lines == []


def test_without_the_other_selectors_the_page_says_what_to_install(copied, uninstall):
    uninstall("hacore-baselines")
    hacore.write_report(copied, device="cpu")
    text = section(copied)
    assert "selector 'random-k' is not installed" in text
    assert re.search(r"pip install -e \S*plugins/hacore-baselines", text)
    assert "own cells ahead by" not in text
    assert "Warning" not in text
    assert "lie on objects" in text


def test_where_answers_are_not_public_no_cells_are_compared(runs):
    trained = hacore.load(runs["han"], device="cpu")
    trained.dataset.unanswered = ("test",)
    choice = choice_of(trained, "test")
    assert (choice.accuracy, choice.rivals, choice.warning) == (None, (), "")
    assert "not public" in choice.notes[0]


def test_weighed_cells_are_not_compared(runs, tmp_path):
    spec = runs["han"].spec_file.read_text()
    spec = re.sub(r"\[selector\].*?\n\n", '[selector]\nuse = "scored-topk"\nk = 7\n\n', spec, flags=re.S)
    (tmp_path / "spec.toml").write_text(spec)
    folder, _ = hacore.run(tmp_path / "spec.toml", runs=tmp_path, device="cpu", quiet=True)
    text = section(folder)
    assert "Other cells are not compared: this selector weighs what it keeps" in text
    assert "own cells ahead by" not in text


def test_the_interval_is_over_images():
    random = np.random.default_rng(0)
    for _ in range(5):
        images, questions = int(random.integers(3, 40)), int(random.integers(50, 300))
        image_Q = random.permutation(np.append(np.arange(images), random.integers(0, images, questions)))
        ours_Q, theirs_Q = random.random((2, len(image_Q)))
        sums = {
            image: [float(scores[image_Q == image].sum()) for scores in (ours_Q, theirs_Q)]
            for image in range(images)
        }
        ours, theirs = (np.array([[sums[image][side] for image in range(images)]]) for side in (0, 1))
        counts = np.array([(image_Q == image).sum() for image in range(images)])
        ahead = over_images(ours_Q, theirs_Q, image_Q)
        expected = difference(ours, theirs, counts, paired=True)
        assert ahead.value == pytest.approx(float((ours_Q - theirs_Q).mean()))
        assert ahead.interval.low == pytest.approx(expected.interval.low)
        assert ahead.interval.high == pytest.approx(expected.interval.high)


def test_one_image_shows_nothing():
    ones = np.ones(9)
    ahead = over_images(ones, 0 * ones, np.zeros(9, np.int64))
    rival = Rival(name="random cells", accuracy=0.0, ahead=ahead)
    assert not rival.better
    assert "not shown to be better than random cells (+100.0 points on one image)" in rival.verdict


def test_the_sample_is_bounded_and_always_the_same(han, monkeypatch):
    trained, _ = han
    questions = trained.dataset.questions("test")
    assert sample(questions).tolist() == sorted(range(100), key=lambda row: (questions.image[row], row))
    monkeypatch.setattr(_choice, "IMAGES", 3)
    rows = sample(questions)
    chosen = {*questions.image[rows].tolist()}
    assert len(chosen) == 3
    assert sorted(rows) == [row for row in range(100) if questions.image[row] in chosen]
    monkeypatch.setattr(_choice, "QUESTIONS", 25)
    rows = sample(questions)
    assert len({*rows.tolist()}) == 25
    assert {*questions.image[rows].tolist()} <= chosen
    assert rows.tolist() == sample(questions).tolist()
    assert choice_of(trained, "test").sample == "25 of 100 questions, about 3 of 5 images, drawn at random"
