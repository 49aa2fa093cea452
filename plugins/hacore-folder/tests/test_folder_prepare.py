"""Preparing a folder: what the pack holds, everything that is wrong at once, and when it is made again."""

import os

import numpy as np
import pytest
from hacore_folder import PrepareConfig
from hacore_folder.pack import FORMAT
from hacore_folder.prepare import default_folder, prepare
from PIL import Image

from hacore.data_tools import Silent
from hacore.errors import DataError
from hacore.pictures import fit, open_picture

SIZE = (12, 16)


class Heard(Silent):
    def __init__(self):
        super().__init__()
        self.said = []

    def message(self, text):
        self.said.append(text)


def run(root, tell=None, **options):
    return prepare(PrepareConfig(root=str(root), size=SIZE, workers=1, **options), tell or Silent())


def test_the_pack_holds_pictures_and_questions(mine, make_folder, tmp_path):
    rows = make_folder(tmp_path / "again")
    outcome = run(mine)
    assert outcome.problems == ()
    assert outcome.summary["pictures"] == 20
    assert outcome.summary["questions"] == 40
    pack = FORMAT.open(default_folder(mine, SIZE))
    stored, images = pack.stored(), pack.images()
    assert pack.pictures == tuple(sorted({name for name, _, _ in rows}))
    assert FORMAT.check(pack.folder) == []
    for row, (name, question, answer) in enumerate(rows):
        assert pack.pictures[stored.image[row]] == name
        words = [pack.words[word] for word in stored.words[stored.offsets[row] : stored.offsets[row + 1]]]
        assert " ".join(words).replace(" ?", "?") == question
        assert pack.answers[stored.answers[row, 0]] == answer
    expected = np.stack([fit(open_picture(mine / name), SIZE) for name in pack.pictures])
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(stored.total, expected.sum((2, 3)))
    np.testing.assert_array_equal(stored.squares, (expected.astype(np.int64) ** 2).sum((2, 3)))


def test_everything_that_is_wrong_is_named_at_once(mine, names):
    (mine / "002.png").write_text("no picture")
    (mine / "005.png").write_bytes((mine / "005.png").read_bytes()[:60])
    Image.fromarray(np.array([[0, 7]], np.float32)).save(mine / "counts.tif")
    (mine / "003.png").unlink()
    with open(mine / "questions.csv", "a") as table:
        table.write("004.png,what?,\ncounts.tif,what?,4\n")
    problems = run(mine).problems
    table = mine / "questions.csv"
    wanted = {
        f"{table}:8:": ("003.png", "not in the folder"),
        f"{table}:42:": ("answer is empty",),
        f"{table}:6:": (str(mine / "002.png"), "not an image", "replace it, or remove the rows"),
        f"{table}:12:": (str(mine / "005.png"), "replace it"),
        f"{table}:43:": (str(mine / "counts.tif"), "floats from 0 to 7"),
    }
    assert len(problems) == len(wanted)
    for problem, (place, parts) in zip(problems, wanted.items(), strict=True):
        names(problem, place, *parts)
    assert not default_folder(mine, SIZE).exists()


def test_it_is_done_once_and_goes_on_after_problems(mine):
    (mine / "002.png").rename(mine / "away")
    assert len(run(mine).problems) == 1
    (mine / "away").rename(mine / "002.png")
    done = run(mine)
    assert done.problems == ()
    assert "prepared" in done.summary
    assert "already prepared" in run(mine).summary
    os.utime(mine / "002.png", ns=(1, 1))
    assert run(mine).summary["images decoded"] == 20
    (mine / "questions.csv").write_text((mine / "questions.csv").read_text() + "000.png,how many?,1\n")
    assert run(mine).summary["questions"] == 41


def test_pictures_that_change_places(mine, write):
    """Rows that were packed before an interruption are those of their files, also with another table."""
    (mine / "019.png").write_text("no picture")
    rows = [("000.png", "what?", "a"), ("019.png", "what?", "b")]
    write(mine / "questions.csv", rows)
    assert len(run(mine).problems) == 1
    write(mine / "questions.csv", [("001.png", "what?", "a"), ("002.png", "what?", "b")])
    assert run(mine).problems == ()
    pack = FORMAT.open(default_folder(mine, SIZE))
    np.testing.assert_array_equal(pack.images()[0], fit(open_picture(mine / "001.png"), SIZE))


def test_a_picture_of_two_splits_is_told(mine, write, names):
    rows = [
        ("000.png", "what?", "a", "train"),
        ("000.png", "how?", "b", "test"),
        ("001.png", "what?", "a", "val"),
    ]
    write(mine / "questions.csv", rows, ("image", "question", "answer", "split"))
    heard = Heard()
    assert run(mine, heard).problems == ()
    (warning,) = [line for line in heard.said if line.startswith("warning")]
    names(warning, "1 picture", "more than one split")


def test_what_cannot_be_prepared(mine, tmp_path, names):
    for root, parts in (
        (tmp_path / "none", ["none", "is not a folder"]),
        (tmp_path / "cache", ["questions.csv", "image, question, answer"]),
    ):
        (tmp_path / "cache").mkdir(exist_ok=True)
        with pytest.raises(DataError) as caught:
            run(root)
        names(str(caught.value), *parts)
    with pytest.raises(DataError, match="holds other files"):
        run(mine, output=str(mine))
    packed = tmp_path / "packed"
    assert run(mine, output=str(packed)).problems == ()
    with pytest.raises(DataError, match="is prepared data already"):
        run(packed)


def test_the_command_names_every_problem(mine, cli):
    (mine / "002.png").unlink()
    (mine / "003.png").unlink()
    ran = cli("data", "prepare", "folder", mine, "--size", 12, 16)
    assert ran.status == 1
    lines = [line for line in ran.err.splitlines() if line.startswith("hacore: ")]
    assert len(lines) == 3
    assert lines[0].startswith(f"hacore: {mine / 'questions.csv'}:6: ")
    (mine / "questions.csv").write_text("image,question,answer\n000.png,what?,a\n")
    ran = cli("data", "prepare", "folder", mine, "--size", 12, 16, "--json")
    assert ran.status == 0, ran.err
