"""``hacore predict``: a table is answered, each picture read once, and what is wrong is named by line."""

import csv
import io
import json

import pytest
from hacore_ask import predicting
from hacore_ask.predicting import predict

import hacore
from hacore.data_tools import Silent
from hacore.errors import DataError
from hacore.model.network import VQAModel
from hacore.spec import resolve

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_table):
    """A model of another data set, whose data are not needed."""
    folder = tmp_path_factory.mktemp("predict")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HACORE_CACHE", str(folder / "cache"))
        spec = resolve(
            small_table(
                "answers",
                train={"steps": 3, "batch_images": 4, "threads": 1, "warmup_steps": 0},
                eval={"baseline_steps": 0},
            )
        )
        return hacore.run(spec, runs=folder / "runs", device="cpu", report=False)[0].path


@pytest.fixture
def table(tmp_path, picture):
    """Three pictures, and questions about them in turns."""
    for name, color, left in (("a.png", "red", True), ("b/b.png", "blue", False), ("c.png", "green", True)):
        picture(tmp_path / "asked" / name, color, left)
    lines = ["question,image"]
    for number in range(9):
        lines.append(f"is the red object number {number} there?,{('a.png', 'b/b.png', 'c.png')[number % 3]}")
    path = tmp_path / "asked" / "questions.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_answers_are_those_of_ask(run, table, cli):
    ran = cli("predict", run, table, "--device", "cpu")
    assert ran.status == 0, ran.err
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    trained = hacore.load(run, device="cpu")
    assert [int(row["id"]) for row in rows] == list(range(2, 11))
    for row in rows:
        reply = trained.ask(table.parent / row["image"], row["question"])
        assert row["answer"] == reply.answer
        assert float(row["probability"]) == pytest.approx(reply.answers[0].probability, abs=1e-5)
        assert row["kept"] == " ".join(f"{cell.row}:{cell.column}" for cell in reply.kept)


def test_both_files_say_the_same(run, table, tmp_path, cli):
    for name in ("answers.csv", "answers.jsonl"):
        ran = cli(
            "predict", run, table, "--output", tmp_path / "out" / name, "selector.k=3", "--device", "cpu"
        )
        assert ran.status == 0, ran.err
        assert "9 answers" in ran.out
    with open(tmp_path / "out" / "answers.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    records = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert len(records) == 9
    for row, record in zip(rows, records, strict=True):
        assert (int(row["id"]), row["image"], row["answer"]) == tuple(
            record[name] for name in ("id", "image", "answer")
        )
        assert len(record["kept"]) == 3
        assert row["kept"] == " ".join(f"{cell['row']}:{cell['column']}" for cell in record["kept"])
        assert record["grid"] == [5, 5]
        assert {cell["weight"] for cell in record["kept"]} == {1.0}


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 64])
def test_a_picture_is_given_once(run, table, monkeypatch, batch):
    trained = hacore.load(run, device="cpu")
    opened, encoded = [], []
    right, encode = predicting.open_picture, VQAModel.encode
    monkeypatch.setattr(predicting, "open_picture", lambda path: opened.append(path.name) or right(path))
    monkeypatch.setattr(
        VQAModel, "encode", lambda model, images: encoded.append(len(images)) or encode(model, images)
    )
    predictions = predict(trained, table, table.parent, Silent(), batch=batch)
    assert sorted(opened) == ["a.png", "b.png", "c.png"]
    assert [one.id for one in predictions] == list(range(2, 11))
    # The three questions about a picture do not fit smaller batches.
    assert sum(encoded) == {1: 9, 2: 6}.get(batch, 3)
    for one in predictions:
        assert one.probability == pytest.approx(
            trained.ask(table.parent / one.image, one.question).answers[0].probability, abs=1e-5
        )


def test_ids_are_taken_over_and_pictures_may_lie_elsewhere(run, table, tmp_path, cli):
    path = tmp_path / "elsewhere.jsonl"
    path.write_text(
        '{"image": "a.png", "question": "where?", "id": 77, "answer": ["left"]}\n', encoding="utf-16"
    )
    ran = cli("predict", run, path, "--images", table.parent, "--device", "cpu")
    assert ran.status == 0, ran.err
    assert ran.out.splitlines()[1].startswith("77,a.png,where?,")


def test_all_that_is_wrong_is_named_and_nothing_is_written(run, table, tmp_path, cli):
    output = tmp_path / "answers.csv"
    with open(table, "a") as file:
        file.write(f",a.png\nwhat?,d.png\n!,a.png\n{'why ' * 1001},a.png\n")
    ran = cli("predict", run, table, "--output", output, "--device", "cpu")
    assert ran.status == 1
    lines = [line for line in ran.err.splitlines() if line.startswith("hacore: ")]
    assert [line.split(": ")[1] for line in lines] == [f"{table}:{number}" for number in (11, 12, 13, 14)]
    assert not output.exists()


def test_pictures_that_cannot_be_read_are_all_named(run, table, names):
    (table.parent / "a.png").write_text("no picture")
    (table.parent / "c.png").write_text("no picture")
    with pytest.raises(DataError) as caught:
        predict(hacore.load(run, device="cpu"), table, table.parent, Silent(), batch=2)
    first, second = str(caught.value).splitlines()
    names(first, f"{table}:2:", "a.png", "not an image", "replace it")
    names(second, f"{table}:4:", "c.png")


def test_mistakes_are_one_line(run, table, tmp_path, cli, names):
    names(cli("predict", tmp_path / "none", table).error, "none")
    names(cli("predict", run, tmp_path / "none.csv").error, "none.csv", "cannot be read")
    names(cli("predict", run, tmp_path).error, str(tmp_path), ".csv", ".jsonl")
    names(cli("predict", run, table, "--output", "a.txt").error, "--output a.txt", ".csv or .jsonl")
    names(cli("predict", run, table, "--set", "head.dropout=0.5").error, "head.dropout", "selector")
    assert cli("predict", run, table, "more").status == 2
    table.write_text("image,text\na.png,what?\n")
    names(cli("predict", run, table).error, f"{table}:1:", "no column 'question'", "image, text")
