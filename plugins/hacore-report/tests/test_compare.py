"""``hacore compare``: what is paired, what is refused, and what is said."""

import html
import json
import random
import re

import numpy as np
import pytest
from hacore_report._compare import verdict_of
from hacore_report._statistics import Interval, difference, p_value
from hacore_report.compare_command import compare as command

GROUPS = {"looks": ["colour", "shape"], "absent": ["count"]}


def questions(seed, right, images=30, types=("colour", "shape", "size")):
    """Three to six questions about each image, right with this chance, with scores of 0, 0.6 and 1."""
    counts, scores = random.Random(0), random.Random(seed)
    return [
        (image, types[number % len(types)], scores.choice((0.6, 1.0)) if scores.random() < right else 0.0)
        for image in range(images)
        for number in range(counts.randint(3, 6))
    ]


@pytest.fixture
def experiment(write_run, write_scores):
    """experiment(k, right, seeds) writes the runs of an experiment and returns their folders."""

    def make(k, right, seeds=(0,), **results):
        paths = []
        for seed in seeds:
            path = write_run(f"selector.k={k}", f"name=keep{k}", seed=seed, groups=GROUPS, **results)
            write_scores(path, questions(100 * k + seed, right))
            paths.append(path)
        return paths

    return make


def sums(paths, types=("colour", "shape", "size")):
    """(S, I) sums of scores and (I,) numbers of questions, read plainly."""
    rows, counts = [], None
    for path in paths:
        lines = map(json.loads, (path / "predictions" / "test.jsonl").read_text().splitlines())
        lines = [line for line in lines if line["type"] in types]
        images = sorted({line["image"] for line in lines})
        rows.append([sum(line["score"] for line in lines if line["image"] == image) for image in images])
        counts = [sum(line["image"] == image for line in lines) for image in images]
    return np.array(rows), np.array(counts)


def test_a_comparison_as_json(cli, experiment):
    ours, theirs = experiment(10, 0.8, (0, 1, 2)), experiment(4, 0.6, (0, 1, 2))
    # In any order, and from a folder: pairs are of one seed.
    ran = cli("compare", *reversed(ours), "--against", *theirs, "--margin", "0.01", "--json")
    assert (ran.status, ran.err) == (0, "")
    told = json.loads(ran.out)
    (ours_SI, counts_I), (theirs_SI, _) = sums(ours), sums(theirs)
    value = difference(ours_SI, theirs_SI, counts_I, paired=True)
    assert told["difference"] == pytest.approx((ours_SI - theirs_SI).sum() / 3 / counts_I.sum())
    assert (told["low"], told["high"]) == pytest.approx((value.interval.low, value.interval.high))
    assert told["p"] == p_value(ours_SI, theirs_SI, counts_I, paired=True)
    assert (told["margin"], told["images"], told["questions"]) == (0.01, 30, counts_I.sum())
    assert (told["seeds"], told["split"], told["verdict"]) == ([0, 1, 2], "test", "better")
    assert told["accuracy"]["runs"] == pytest.approx(ours_SI.sum() / 3 / counts_I.sum())
    assert told["accuracy"]["against"] == pytest.approx(theirs_SI.sum() / 3 / counts_I.sum())
    assert told["runs"]["folders"] == list(map(str, ours))
    assert told["against"] == {"name": "keep4", "seeds": [0, 1, 2], "folders": list(map(str, theirs))}
    assert told["over_images"]["low"] > told["low"]
    assert told["over_seeds"]["high"] <= told["high"]


def test_by_type_and_by_group(cli, experiment):
    ours, theirs = experiment(10, 0.8), experiment(4, 0.6)
    told = json.loads(cli("compare", *ours, "--against", *theirs, "--json").out)
    assert list(told["by_type"]) == ["colour", "shape", "size"]
    assert list(told["by_group"]) == ["looks"]
    for name, types in [("colour", ["colour"]), ("looks", ["colour", "shape"])]:
        part = told["by_type" if len(types) == 1 else "by_group"][name]
        (ours_SI, counts_I), (theirs_SI, _) = sums(ours, types), sums(theirs, types)
        value = difference(ours_SI, theirs_SI, counts_I, paired=True)
        assert part["difference"] == pytest.approx(value.value)
        assert (part["low"], part["high"]) == pytest.approx((value.interval.low, value.interval.high))
        assert part["p"] == p_value(ours_SI, theirs_SI, counts_I, paired=True)
        assert (part["images"], part["questions"]) == (len(counts_I), counts_I.sum())
    # Holm: the smallest of three p-values counts three times.
    smallest = min(told["by_type"].values(), key=lambda part: part["p"])
    assert smallest["p_holm"] == pytest.approx(min(1, 3 * smallest["p"]))


def test_a_comparison_in_words(cli, experiment, names):
    ours, theirs = experiment(10, 0.9, (0, 1)), experiment(4, 0.5, (0, 1))
    ran = cli("compare", *ours, "--against", *theirs, "--margin", "0.01")
    head, *rows = ran.out.splitlines()[1:]
    assert head.split()[:5] == ["questions", "number", "images", "keep10", "keep4"]
    assert [row.split()[0] for row in rows[:5]] == ["all", "looks", "colour", "shape", "size"]
    told = json.loads(cli("compare", *ours, "--against", *theirs, "--margin", "0.01", "--json").out)
    names(rows[-1], "keep10", f"{100 * told['difference']:.2f} points more", "keep4", "95% interval")
    names(rows[-1], f"{100 * told['low']:+.2f} to {100 * told['high']:+.2f}", "30 images", "2 seeds")
    assert told["words"] == rows[-1]


def test_the_other_way_round_it_is_worse(cli, experiment):
    ours, theirs = experiment(10, 0.9), experiment(4, 0.5)
    one = json.loads(cli("compare", *ours, "--against", *theirs, "--json").out)
    other = json.loads(cli("compare", *theirs, "--against", *ours, "--json").out)
    assert other["difference"] == -one["difference"]
    assert (other["low"], other["high"]) == pytest.approx((-one["high"], -one["low"]))
    assert (one["verdict"], other["verdict"]) == ("better", "worse")
    assert one["p"] == other["p"]


def test_a_run_is_as_good_as_itself(cli, experiment):
    ours = experiment(10, 0.7, (0, 1))
    ran = cli("compare", *ours, "--against", *ours, "--margin", "0.01", "--json")
    told = json.loads(ran.out)
    assert [told[key] for key in ("difference", "low", "high", "p")] == [0, 0, 0, 1]
    assert told["verdict"] == "equivalent"


def test_neither_the_order_of_lines_nor_of_runs_matters(cli, experiment):
    ours, theirs = experiment(10, 0.8, (0, 1)), experiment(4, 0.6, (0, 1))
    first = json.loads(cli("compare", *ours, "--against", *theirs, "--json").out)
    for number, path in enumerate([*ours, *theirs]):
        file = path / "predictions" / "test.jsonl"
        lines = file.read_text().splitlines(keepends=True)
        random.Random(number).shuffle(lines)
        file.write_text("".join(lines))
    again = json.loads(cli("compare", *reversed(ours), "--against", *reversed(theirs), "--json").out)
    assert again == first
    other = json.loads(cli("compare", *ours, "--against", *theirs, "--json", "--seed", "1").out)
    assert other["difference"] == first["difference"]
    assert other["over_images"] != first["over_images"]


def test_a_comparison_as_a_page(cli, experiment, names, tmp_path):
    ours, theirs = experiment(10, 0.8, (0, 1)), experiment(4, 0.6, (0, 1))
    file = tmp_path / "pages" / "page.html"
    ran = cli("compare", *ours, "--against", *theirs, "--page", file)
    assert ran.status == 0
    page = file.read_text()
    assert "<h1>keep10 against keep4</h1>" in page
    *_, sentence = ran.out.splitlines()
    assert html.escape(sentence) in page
    table = [line.split() for line in ran.out.splitlines() if line.split()[:1] in (["all"], ["size"])]
    for name, *numbers in table:
        (row,) = re.findall(rf'<tr><th scope="row">{name}</th>(.*?)</tr>', page, re.S)
        cells = [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
        assert " ".join(cells).split() == numbers
    assert len(table) == 2
    names(cli("compare", *ours, "--against", *theirs, "--page", tmp_path).error, str(tmp_path), "--page")


def test_one_seed_says_nothing_about_others(cli, experiment, names):
    ours, theirs = experiment(10, 0.8), experiment(4, 0.6)
    ran = cli("compare", *ours, "--against", *theirs, "--json")
    told = json.loads(ran.out)
    assert (told["seeds"], told["over_seeds"]) == ([0], None)
    assert told["over_images"] == {"low": told["low"], "high": told["high"]}
    names(ran.err.rstrip(), "note: one seed", "images only", "other seeds")


def test_seeds_that_differ_are_not_paired(cli, experiment, names):
    ours, theirs = experiment(10, 0.8, (0, 1, 2)), experiment(4, 0.6, (5, 7, 9))
    ran = cli("compare", *ours, "--against", *theirs, "--json")
    told = json.loads(ran.out)
    (ours_SI, counts_I), (theirs_SI, _) = sums(ours), sums(theirs)
    value = difference(ours_SI, theirs_SI, counts_I, paired=False)
    assert (told["low"], told["high"]) == pytest.approx((value.interval.low, value.interval.high))
    assert told["seeds"] == []
    assert (told["runs"]["seeds"], told["against"]["seeds"]) == ([0, 1, 2], [5, 7, 9])
    names(ran.err.rstrip(), "note:", "0, 1, 2 and 5, 7, 9", "not paired", "Welch")
    ran = cli("compare", *ours, "--against", theirs[0])
    names(ran.err.rstrip(), "note:", "one seed on a side", "0, 1, 2 and 5", "images only")


def test_few_images_are_noted(cli, write_run, write_scores, names):
    one, other = write_run(), write_run("selector.k=4")
    for seed, path in enumerate((one, other)):
        many = [(image, "shape", float((image + seed) % 3 > 0)) for image in range(25)]
        write_scores(path, [*many, (3, "rare", float(seed))])
    ran = cli("compare", one, "--against", other, "--json")
    names(ran.err.splitlines()[-1], "note:", "fewer than 20 images", "rare (1)")
    rare = json.loads(ran.out)["by_type"]["rare"]
    assert (rare["difference"], rare["low"], rare["high"], rare["p"]) == (-1, None, None, 1)


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (0.011, 0.2, 0.01, "better"),
        (0.005, 0.2, 0.01, "undecided"),
        (-0.2, -0.011, 0.01, "worse"),
        (0.001, 0.009, 0.01, "equivalent"),
        (-0.011, 0.009, 0.01, "undecided"),
        (0.001, 0.2, 0.0, "better"),
        (-0.001, 0.2, 0.0, "undecided"),
    ],
)
def test_verdicts(low, high, margin, verdict):
    assert verdict_of(Interval(low=low, high=high), margin) == verdict


def test_a_difference_that_may_be_smaller_than_the_margin(cli, experiment, names):
    ours, theirs = experiment(10, 0.9, (0,)), experiment(4, 0.5, (0,))
    sentence = cli("compare", *ours, "--against", *theirs, "--margin", "0.35").out.splitlines()[-1]
    names(sentence, "better, but whether", "margin of 35 points", "undecided")
    sentence = cli("compare", *ours, "--against", *theirs, "--margin", "0.9").out.splitlines()[-1]
    names(sentence, "equivalent within the margin of 90 points")


def test_questions_without_a_known_answer_are_wrong(cli, write_run, write_scores):
    """As result.json counts them."""
    one, other = write_run(), write_run("selector.k=4")
    write_scores(one, [(image, "shape", 1.0 if image % 2 else None) for image in range(40)])
    write_scores(other, [(image, "shape", 0.0) for image in range(40)])
    assert json.loads(cli("compare", one, "--against", other, "--json").out)["accuracy"]["runs"] == 0.5


def test_another_split(cli, experiment, write_scores, names):
    ours, theirs = experiment(10, 0.8), experiment(4, 0.6)
    message = cli("compare", *ours, "--against", *theirs, "--split", "val").error
    names(message, f"{ours[0]}/predictions/val.jsonl:", "missing", f"hacore eval {ours[0]} --split val")
    for path in (*ours, *theirs):
        write_scores(path, [(image, "shape", 1.0) for image in range(25)], split="val")
    told = json.loads(cli("compare", *ours, "--against", *theirs, "--split", "val", "--json").out)
    assert (told["split"], told["difference"], told["images"]) == ("val", 0, 25)


def test_against_takes_all_that_follows():
    def parsed(*words):
        context = command.make_context("compare", list(words))
        return context.params["runs"], context.params["against"], context.params["margin"]

    for words in (
        ("a", "b", "--against", "c", "d", "--margin", "0.5"),
        ("--margin", "0.5", "a", "b", "--against=c", "d"),
        ("--against", "c", "d", "--margin", "0.5", "a", "b"),
        ("--against", "c", "--against", "d", "--margin=0.5", "--", "a", "b"),
    ):
        assert parsed(*words) == (("a", "b"), ("c", "d"), 0.5)


def test_usage(cli, experiment):
    (ours,) = experiment(10, 0.8)
    for words in (["compare", ours], ["compare", ours, "--against", ours, "--margin", "2"]):
        assert cli(*words).status == 2


# What is refused


def test_other_data_and_other_splits(cli, experiment, names):
    ours = experiment(10, 0.8)
    other = experiment(4, 0.6, data__fingerprint="other")
    message = cli("compare", *ours, "--against", *other).error
    names(message, "data.fingerprint", "f", str(ours[0]), "other", str(other[0]), "same data")
    other = experiment(5, 0.6, split="val")
    names(cli("compare", *ours, "--against", *other).error, "split is test", "val", "--split")


def test_several_experiments_on_a_side(cli, experiment, names):
    ours, others = experiment(10, 0.8), experiment(4, 0.6)
    message = cli("compare", *ours, *others, "--against", *ours).error
    names(message, "RUNS:", "several experiments", "selector.k: 4, 10", "seed")
    names(cli("compare", *ours, "--against", *ours, *others).error, "--against:", "selector.k: 4, 10")


def test_other_questions(cli, experiment, write_scores, names):
    (ours,), (theirs,) = experiment(10, 0.8), experiment(4, 0.6)
    file = write_scores(theirs, questions(1, 0.6), first=1)
    message = cli("compare", ours, "--against", theirs).error
    names(message, "question 0, one of 2,", f"{ours}/predictions/test.jsonl", str(file), "'hacore eval'")
    write_scores(theirs, questions(1, 0.6, types=("colour", "size")))
    names(cli("compare", ours, "--against", theirs).error, "question 1", "another image or type", str(file))


def test_answers_that_are_not_public(cli, experiment, write_scores, names):
    (ours,), (theirs,) = experiment(10, 0.8), experiment(4, 0.6)
    file = write_scores(ours, [(0, "shape", None), (1, "shape", None)])
    names(cli("compare", ours, "--against", theirs).error, f"{file}:", "no scores", "not public", "--split")


def test_one_image(cli, experiment, write_scores, names):
    (ours,), (theirs,) = experiment(10, 0.8), experiment(4, 0.6)
    for path in (ours, theirs):
        file = write_scores(path, [(7, "shape", 1.0), (7, "shape", 0.0)])
    names(cli("compare", theirs, "--against", ours).error, f"{file}:", "one image", "at least two")


def test_damaged_predictions(cli, experiment, write_scores, names):
    (ours,), (theirs,) = experiment(10, 0.8), experiment(4, 0.6)
    file = ours / "predictions" / "test.jsonl"
    lines = file.read_text().splitlines(keepends=True)

    def said(text):
        file.write_text(text)
        return cli("compare", ours, "--against", theirs).error

    names(said("".join([*lines[:3], '{"id": 4}\n'])), f"{file}:4:", "'hacore eval'")
    names(said("".join([*lines[:3], lines[3][:20]])), f"{file}:", "cannot be read", "'hacore eval'")
    names(said(""), f"{file}:", "no predictions", "'hacore eval'")
    names(said("".join([*lines, lines[2]])), f"{file}:", "question 2 twice", "'hacore eval'")
    names(said("".join([*lines[:-1], lines[-1].replace('"format": 1', '"format": 9')])), "format 9")
    broken = json.dumps({**json.loads(lines[5]), "score": 1.5}) + "\n"
    names(said("".join([*lines[:5], broken, *lines[6:]])), f"{file}:6:", "1.5", "[0, 1]", "score")
