"""Runs of the version before contract 2: they are read, asked, measured and shown, but not continued."""

import html
import json
import re
import shutil

import numpy as np
import pytest

import hacore
from hacore.measure.reading import question_text

pytest.importorskip("PIL")

pytestmark = pytest.mark.usefixtures("one_thread")

FINISHED = ("han", "adahan")


@pytest.fixture
def earlier(request, tmp_path):
    """earlier("han"): a copy of the run folder, as the version before left it."""

    def copied(name):
        folder = tmp_path / name
        shutil.copytree(request.config.rootpath / "tests" / "earlier" / name, folder)
        return hacore.RunFolder(folder)

    return copied


def records(folder):
    return [json.loads(line) for line in folder.predictions_file("test").read_text().splitlines()]


def contents(folder):
    """{path: bytes} of every file."""
    return {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_they_are_what_the_version_before_wrote(earlier):
    for name in FINISHED:
        folder = earlier(name)
        assert "oracle" not in folder.result_file.read_text()
        assert "stored_dtype" not in folder.inputs_file.read_text()
        assert "contract" not in folder.environment_file.read_text()
        assert {key for record in records(folder) for key in record}.isdisjoint({"cells", "weights"})


@pytest.mark.parametrize("name", FINISHED)
def test_asked_about_its_own_images_it_answers_as_was_recorded(earlier, name):
    folder = earlier(name)
    trained = hacore.load(folder, device="cpu")
    dataset = trained.dataset
    asked, images = dataset.questions("test"), dataset.images("test")
    assert dataset.fingerprint == folder.result()["data"]["fingerprint"]
    for image in (0, 2, 5):
        recorded = [record for record in records(folder) if record["image"] == image]
        assert len(recorded) == 20
        rows = [asked.ids.tolist().index(record["id"]) for record in recorded]
        texts = [
            question_text(
                [
                    dataset.vocabulary[word]
                    for word in asked.words[asked.offsets[row] : asked.offsets[row + 1]]
                ]
            )
            for row in rows
        ]
        replies = trained.ask(np.asarray(images[image]).transpose(1, 2, 0), texts)
        for reply, record in zip(replies, recorded, strict=True):
            assert reply.answer == record["prediction"]
            assert reply.answers[0].probability == pytest.approx(record["probability"], abs=1e-5)
            assert len(reply.kept) == record["kept"]
            assert reply.unknown == ()


def test_the_trained_selector_can_still_be_given_another_option(earlier):
    trained = hacore.load(earlier("han"), device="cpu")
    image, question = np.zeros((75, 75, 3), np.uint8), "is the red object on the left?"
    assert len(trained.ask(image, question).kept) == 6
    assert len(trained.ask(image, question, selector={"k": 3}).kept) == 3


@pytest.mark.parametrize("name", FINISHED)
def test_eval_gives_the_recorded_accuracy(earlier, cli, name):
    folder = earlier(name)
    before, result = records(folder), folder.result()
    ran = cli("eval", folder.path, "--device", "cpu", "--json")
    assert ran.status == 0, ran.err
    measured = json.loads(ran.out)
    assert measured["accuracy"] == pytest.approx(result["accuracy"], abs=1e-9)
    assert measured["loss"] == pytest.approx(result["loss"], rel=1e-5)
    assert measured["kept"] == pytest.approx(result["kept"], rel=1e-6)
    assert measured["by_group"] == result["by_group"]
    assert measured["baselines"]["majority"] == result["baselines"]["majority"]
    assert measured["step"] == result["checkpoint"]["step"]
    # The predictions are written again, now with the cells.
    for old, new in zip(before, records(folder), strict=True):
        assert (new["id"], new["prediction"], new["kept"]) == (old["id"], old["prediction"], old["kept"])
        assert len(new["cells"]) == old["kept"]


@pytest.mark.parametrize("name", FINISHED)
def test_report_writes_a_page_with_a_gallery(earlier, cli, name):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    folder = earlier(name)
    result = folder.result()
    assert not folder.report_file.exists()
    ran = cli("report", folder.path, "--device", "cpu")
    assert (ran.status, ran.out) == (0, f"wrote {folder.report_file}\n"), ran.err
    page = folder.report_file.read_text()
    text = re.sub(r"<[^>]+>|\s+", " ", page)
    assert re.search(rf"{100 * result['accuracy']:.1f} ?% *of *120 *questions *right", text)
    assert "An oracle" not in page
    recorded = {record["id"]: record for record in records(folder)}
    cards = re.findall(
        r'<li class="card" data-question="(\d+)" data-answer="([^"]*)".*?(\d+) of 25 cells kept',
        page,
        re.DOTALL,
    )
    assert len(cards) > 30
    for number, answer, kept in cards:
        record = recorded[int(number)]
        assert html.unescape(answer) == record["prediction"]
        assert int(kept) == record["kept"]
    assert page.count("data:image/png;base64,") >= 2 * len(cards)


def test_report_compares_them(earlier, cli, tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    folders = [earlier(name) for name in FINISHED]
    page = tmp_path / "both.html"
    ran = cli("report", *(folder.path for folder in folders), "--output", page, "--device", "cpu")
    assert ran.status == 0, ran.err
    assert page.read_text().count('<li class="card"') > 30
    assert "(oracle)" not in page.read_text()


def test_table_reads_them(earlier, cli):
    folders = {name: earlier(name) for name in (*FINISHED, "unfinished")}
    ran = cli("table", *(folder.path for folder in folders.values()), "--rows", "selector.use", "--json")
    assert ran.status == 0, ran.err
    means = {
        cell["row"]["selector.use"]: cell["mean"]
        for cell in json.loads(ran.out)["cells"]
        if cell["value"] == "accuracy"
    }
    for selector, name in (("l2-topk", "han"), ("adahan", "adahan")):
        assert means[selector] == pytest.approx(folders[name].result()["accuracy"])
    assert f"{folders['unfinished'].path}: has no result yet and is left out" in ran.err


def test_a_training_is_not_continued_and_the_reason_is_named(earlier, cli):
    folder = earlier("unfinished")
    before = contents(folder)
    ran = cli("run", "--resume", folder.path, "--device", "cpu")
    assert ran.status == 1
    assert ran.error.startswith(f"{folder.last}: ")
    assert "contract 1" in ran.error
    assert "contract 2" in ran.error
    # What one can do: train anew, or go on with the version that began it.
    assert "spec.toml" in ran.error
    assert "environment.json" in ran.error
    assert contents(folder) == before


def test_a_model_that_was_not_finished_can_be_used(earlier, cli):
    folder = earlier("unfinished")
    ran = cli("eval", folder.path, "--split", "val", "--device", "cpu", "--json")
    assert ran.status == 0, ran.err
    lines = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    recorded = {line["step"]: line["accuracy"] for line in lines if line["kind"] == "eval"}
    measured = json.loads(ran.out)
    assert measured["accuracy"] == pytest.approx(recorded[measured["step"]], abs=1e-9)
    assert measured["accuracy"] == max(recorded.values())


@pytest.mark.parametrize("name", FINISHED)
def test_resuming_a_finished_one_says_that_it_is_finished(earlier, cli, name):
    folder = earlier(name)
    before = contents(folder)
    ran = cli("run", "--resume", folder.path, "--device", "cpu", "--json")
    assert ran.status == 0, ran.err
    assert "finished already" in ran.err
    assert f"hacore eval {folder.path}" in ran.err
    assert json.loads(ran.out) == {"run": str(folder.path), **folder.result()}
    assert contents(folder) == before
