"""Packs: right content, the same however it was made, resumed after any interruption, never half finished."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hacore_clevr import PrepareConfig, hacore_declare, prepare
from hacore_clevr.columns import collect
from hacore_clevr.official import image_names, questions_file, read_questions
from hacore_clevr.pack import check_pack, open_pack
from hacore_clevr.publish import publish
from hacore_packing import children, decode, images, writer
from hacore_packing.making import unfinished
from hacore_packing.writer import PackWriter
from PIL import Image

from hacore.data_tools import Silent
from hacore.errors import DataError

SIZE = (6, 10)


class Stop(Silent):
    """Interrupts after a number of pieces of work, as Ctrl-C does."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def progress(self, what, done, total):
        self.after -= what.startswith("packing")
        if self.after == 0:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(images, "SHARD", 2)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out" / "pack"


def run(official, output, tell=None, **options):
    options = {"size": SIZE, "workers": 1, **options}
    config = PrepareConfig(root=str(official), output=str(output), **options)
    return prepare.prepare(config, tell or Silent())


def files(folder):
    """Content of every file but for what names the place of the official folder."""
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    described = json.loads(contents.pop("pack.json"))
    del described["source"]
    return {**contents, "pack.json": described}


def plain(path):
    """(3, height, width): a picture as Pillow resizes it."""
    image = Image.open(path).convert("RGB").resize(SIZE[::-1], Image.Resampling.BICUBIC)
    return np.array(image).transpose(2, 0, 1)


def test_pack_holds_what_the_folder_holds(official, output):
    outcome = run(official, output)
    assert outcome.problems == ()
    assert outcome.summary["images"] == {"train": 6, "val": 3, "test": 2}
    assert outcome.summary["questions"] == {"train": 24, "val": 12, "test": 8}
    pack = open_pack(output)
    assert list(pack.splits) == ["train", "val", "test"]
    assert [info.answered for info in pack.splits.values()] == [True, True, False]
    assert pack.types == ("0 count", "1 query_color", "2 exist", "3 less_than", "unknown")
    assert pack.functions == ("count", "query_color", "exist", "less_than", "")
    for split in pack.splits:
        names = image_names(official, split)
        expected = np.stack([plain(official / "images" / split / name) for name in names])
        np.testing.assert_array_equal(pack.images(split), expected)
        assert isinstance(pack.images(split), np.memmap)
        columns, _ = read_questions(official, split, names)
        stored = pack.questions(split)
        for name in ("offsets", "image", "answer", "ids"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(columns, name))
        words = [columns.vocabulary[number] for number in columns.words]
        known = [word if word in pack.vocabulary else "<unk>" for word in words]
        assert [pack.vocabulary[number] for number in stored.words] == known
    pixels = np.asarray(pack.images("train")) / 255
    np.testing.assert_allclose(pack.mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(pack.std, pixels.std((0, 2, 3)), rtol=1e-12)
    assert check_pack(output) == []
    assert sorted(path.name for path in output.parent.iterdir()) == [".pack.lock", "pack"]
    assert len(list(output.iterdir())) == 7


def test_images_of_the_right_size_are_left_alone(official, output):
    run(official, output, size=(16, 24))
    path = official / "images" / "val" / "CLEVR_val_000001.png"
    expected = np.array(Image.open(path))[..., :3].transpose(2, 0, 1)
    np.testing.assert_array_equal(open_pack(output).images("val")[1], expected)


def test_reducing_does_not_alias(tmp_path):
    """A pattern of single pixels is too fine for the small image and must become even gray."""
    pixels = np.zeros((320, 480, 3), np.uint8)
    pixels[::2, ::2] = pixels[1::2, 1::2] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = decode.read_image(tmp_path / "a.png", (128, 128))
    assert image.shape == (3, 128, 128)
    assert np.abs(image[:, 2:-2, 2:-2].astype(int) - 127).max() <= 8


def test_processes_make_the_same_bytes(official, output, tmp_path):
    run(official, output)
    outcome = run(official, tmp_path / "two", workers=2)
    assert outcome.problems == ()
    assert files(tmp_path / "two") == files(output)


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5, 6])
def test_goes_on_after_an_interruption(official, output, tmp_path, after):
    with pytest.raises(KeyboardInterrupt):
        run(official, output, Stop(after))
    assert not output.exists()
    outcome = run(official, output)
    # Shards of 2: three of train, two of val, one of test.
    written = [2, 4, 6, 8, 9, 11][after - 1]
    assert outcome.summary["images decoded"] == 11 - written
    run(official, tmp_path / "whole")
    assert files(output) == files(tmp_path / "whole")


def test_an_interruption_leaves_no_process(official, output, monkeypatch):
    started, start = [], children._start_child

    def remembered(target):
        started.append(start(target))
        return started[-1]

    monkeypatch.setattr(children, "_start_child", remembered)
    with pytest.raises(KeyboardInterrupt):
        run(official, output, Stop(1), workers=2)
    assert len(started) == 2
    assert all(child.returncode is not None for child in started)


def test_goes_on_after_a_kill(official, output, tmp_path):
    """The process ends at once, in the middle of its work, with nothing cleaned up."""
    code = (
        "import os, signal, sys\n"
        "from hacore_clevr import PrepareConfig, prepare\n"
        "from hacore_packing import images\n"
        "from hacore.data_tools import Silent\n"
        "class Kill(Silent):\n"
        "    def progress(self, what, done, total):\n"
        "        if done >= 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "images.SHARD = 2\n"
        "config = PrepareConfig(root=sys.argv[1], output=sys.argv[2], size=(6, 10), workers=2)\n"
        "prepare.prepare(config, Kill())\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code, str(official), str(output)]
    assert subprocess.run(command, env=env, timeout=60).returncode == -signal.SIGKILL
    assert not output.exists()
    outcome = run(official, output)
    assert outcome.summary["images decoded"] == 7
    run(official, tmp_path / "whole")
    assert files(output) == files(tmp_path / "whole")


def test_files_changed_meanwhile_are_decoded_again(official, output):
    with pytest.raises(KeyboardInterrupt):
        run(official, output, Stop(5))
    path = official / "images" / "train" / "CLEVR_train_000003.png"
    Image.new("RGB", (24, 16), (10, 20, 30)).save(path)
    outcome = run(official, output)
    assert outcome.summary["images decoded"] == 2 + 2  # its shard, and what was missing
    assert (open_pack(output).images("train")[3] == np.array([10, 20, 30])[:, None, None]).all()


def test_prepared_once(official, output):
    run(official, output)
    before = (output / "pack.json").stat().st_mtime_ns
    outcome = run(official, output)
    assert outcome.summary["already prepared"] == str(output)
    assert (output / "pack.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("change", ["questions", "image", "size", "splits", "damage"])
def test_prepared_again_after_a_change(official, output, change):
    run(official, output)
    options = {}
    if change == "questions":
        path = questions_file(official, "val")
        path.write_text(path.read_text().replace("fewer", "less"))
    elif change == "image":
        Image.new("RGB", (24, 16)).save(official / "images" / "val" / "CLEVR_val_000000.png")
    elif change == "size":
        options = {"size": (8, 8)}
    elif change == "splits":
        options = {"splits": ("train", "val")}
    else:
        os.truncate(output / "val.images.npy", 100)
    first = (output / "pack.json").stat().st_ino
    outcome = run(official, output, **options)
    assert outcome.problems == ()
    assert "prepared" in outcome.summary
    assert (output / "pack.json").stat().st_ino != first
    assert check_pack(output) == []
    assert not list(output.parent.glob(".*.old"))


def test_all_damage_is_named_and_nothing_is_finished(official, output, tmp_path):
    cut = official / "images" / "train" / "CLEVR_train_000001.png"
    cut.write_bytes(cut.read_bytes()[:200])
    text = official / "images" / "val" / "CLEVR_val_000002.png"
    whole = text.read_bytes()
    text.write_text("no picture")
    gone = official / "images" / "test" / "CLEVR_test_000001.png"
    kept = gone.read_bytes()
    gone.unlink()
    path = questions_file(official, "val")
    good = path.read_text()
    path.write_text(good[:-300])
    outcome = run(official, output)
    listing = "\n".join(outcome.problems)
    assert f"{cut}: the image cannot be read: " in listing
    assert f"{text}: is not an image; " in listing
    assert "4 questions (4, 5, 6, 7): image CLEVR_test_000001.png is not among the split's images" in listing
    assert f"{path}: is cut off after" in listing
    assert len(outcome.problems) == 4
    assert not output.exists()
    with pytest.raises(DataError, match=r"pack\.json: the file is missing"):
        open_pack(unfinished(output))
    Image.new("RGBA", (24, 16)).save(cut)
    text.write_bytes(whole)
    gone.write_bytes(kept)
    path.write_text(good)
    outcome = run(official, output)
    assert outcome.problems == ()
    assert outcome.summary["images decoded"] == 2 + 1 + 2  # the other shards were kept
    assert check_pack(output) == []


def test_damage_is_named_by_processes_too(official, output):
    for path in (official / "images" / "train").iterdir():
        path.write_bytes(b"no picture")
    outcome = run(official, output, workers=2)
    assert len(outcome.problems) == 6


def test_split_without_images(official, output, names):
    shutil.rmtree(official / "images" / "test")
    outcome = run(official, output)
    (problem,) = outcome.problems
    names(problem, f"{official}/images/test:", "no images", "unpack", "--splits")
    assert run(official, output, splits=("train", "val")).problems == ()
    assert list(open_pack(output).splits) == ["train", "val"]


def test_splits_that_cannot_be_prepared(official, output):
    with pytest.raises(DataError, match=r"dev, extra.*train, val, test"):
        run(official, output, splits=("dev", "train", "extra"))
    with pytest.raises(DataError, match=r"train or trainA.*val, test.*add it"):
        run(official, output, splits=("val", "test"))


def test_other_files_are_never_replaced(official, output):
    output.mkdir(parents=True)
    run(official, output)  # an empty folder is fine
    (output / "pack.json").unlink()
    with pytest.raises(DataError, match=r"other files than prepared data.*choose another"):
        run(official, output)
    with pytest.raises(DataError, match=r"root is not set.*folder of the official data"):
        run("", output)
    with pytest.raises(DataError, match="is not a folder"):
        run(official / "nothing", output)


def test_a_pack_cannot_be_prepared(official, output, tmp_path):
    run(official, output)
    with pytest.raises(DataError, match=r"prepared data already.*root"):
        run(output, tmp_path / "again")


def test_no_room_is_said_first(official, output, monkeypatch):
    usage = shutil.disk_usage(official)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"0.0 GB.*0.0 GB.*free.*make room.* --size"):
        run(official, output)
    assert not output.exists()


def test_full_disk(official, output):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
    try:
        with pytest.raises(DataError, match=r"cannot be made.*File too large.*run again"):
            run(official, output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not output.exists()
    assert run(official, output).problems == ()


def test_pack_of_generated_data(tmp_path):
    """What a generator does: arrays and records, no files."""
    folder = tmp_path / "generated"
    names = ["a.png", "b.png", "c.png"]
    records = [
        {
            "question": f"What is {name}?",
            "image_filename": name,
            "question_index": 10 + row,
            "program": [{"type": "scene", "inputs": []}, {"type": "count", "inputs": [0]}],
            "answer": row,
            "question_family_index": 5,
        }
        for row, name in enumerate(names)
    ]
    writer = PackWriter(unfinished(folder), "train", 3, (2, 4))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 2, 4), np.uint8)
    writer.write(0, pixels)
    columns, problems = collect(records, names)
    assert problems == []
    pack = publish(
        folder,
        size=(2, 4),
        images={"train": writer.finish()},
        questions={"train": columns},
        names={"train": names},
        source={"seed": 1},
    )
    assert (pack.types, pack.source) == (("5 count",), {"seed": 1})
    np.testing.assert_array_equal(pack.images("train"), pixels)
    assert pack.questions("train").answer.tolist() == [0, 1, 2]
    assert check_pack(folder) == []


def flip(path):
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)


def test_check_reads_everything(official, output, names):
    run(official, output)
    flip(output / "train.images.npy")
    flip(output / "val.questions.npz")
    os.truncate(output / "test.images.npy", 100)
    (output / "test.questions.npz").unlink()
    problems = check_pack(output)
    problem_of = {Path(problem.split(": ")[0]).name: problem for problem in problems}
    for name, parts in {
        "train.images.npy": ["damaged", "SHA-256"],
        "val.questions.npz": ["damaged", "SHA-256"],
        "test.images.npy": ["100 bytes", "488"],
        "test.questions.npz": ["missing"],
    }.items():
        names(problem_of[name], f"{output / name}:", *parts, f"delete the folder {output}")
    assert len(problems) == 4


def test_links_to_nowhere_are_named_with_all_other_damage(official, output, names):
    image = official / "images" / "train" / "CLEVR_train_000001.png"
    image.unlink()
    image.symlink_to(image.name)
    (problem,) = run(official, output).problems
    names(problem, f"{image}:")


def test_the_tools_are_declared():
    tools = {tool.kind: tool for tool in hacore_declare()}
    assert tools["prepare"].config is PrepareConfig
    assert tools["prepare"].argument == "root"
    assert writer.SHARD == 64
