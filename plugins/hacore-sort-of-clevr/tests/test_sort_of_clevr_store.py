"""The files: same bytes for a seed, all or nothing, and checked."""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys

import attrs
import numpy as np
import pytest
from hacore_sort_of_clevr import Config, store
from hacore_sort_of_clevr.dataset import SortOfClevr
from hacore_sort_of_clevr.store import Generated, make_block, open_store

from hacore.errors import DataError

SMALL = Generated(images=40, questions=20, data_seed=0)
PINNED = "3eb8726ec89f1b73aef3f258c28f812afe5949c2fa8845ddd0102e98819e0ee3"
CONFIG = {"images": 40, "held_out": 5, "validation": 5}


def blocks(wanted):
    return [make_block(wanted, number) for number in range(-(-wanted.images // store.BLOCK))]


def folders(parent):
    """What is in a folder but for the file of the lock."""
    return sorted(path.name for path in parent.iterdir() if not path.name.endswith(".lock"))


def digest(wanted):
    total = hashlib.sha256()
    for block in blocks(wanted):
        for name in store.NAMES:
            total.update(getattr(block, name).tobytes())
    return total.hexdigest()


def test_bytes_are_pinned():
    """The bytes of a seed are part of the version: whoever changes them raises ``store.VERSION``."""
    assert store.VERSION == 1
    assert digest(Generated(images=300, questions=20, data_seed=0)) == PINNED


def test_other_seeds_give_other_data():
    assert len({digest(attrs.evolve(SMALL, data_seed=seed)) for seed in (0, 1, 2**32, 2**63 - 1)}) == 4


def test_every_block_is_its_own():
    one, two = blocks(attrs.evolve(SMALL, images=2 * store.BLOCK))
    assert not np.array_equal(one.scenes, two.scenes)


def test_generated_once_then_opened(tmp_path, caplog):
    caplog.set_level(logging.INFO, "hacore")
    first = open_store(tmp_path, SMALL)
    assert "generating 40 images of sort-of-clevr" in caplog.text
    assert folders(tmp_path) == [SMALL.key]
    assert folders(tmp_path / SMALL.key) == ["images.npy", "meta.json", "questions.npy", "scenes.npy"]
    caplog.clear()
    second = open_store(tmp_path, SMALL)
    assert not caplog.records
    assert isinstance(second.images, np.memmap)
    assert not second.images.flags.writeable
    (expected,) = blocks(SMALL)
    for name in store.NAMES:
        np.testing.assert_array_equal(getattr(first, name), getattr(expected, name))
        np.testing.assert_array_equal(getattr(second, name), getattr(expected, name))


def test_the_images_of_a_split_stay_mapped(tmp_path):
    assert isinstance(SortOfClevr(Config(**CONFIG, root=str(tmp_path))).images("train"), np.memmap)


def test_place_of_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HACORE_CACHE", str(tmp_path / "here"))
    SortOfClevr(Config(**CONFIG))
    assert (tmp_path / "here" / "sort-of-clevr" / SMALL.key / "images.npy").is_file()
    SortOfClevr(Config(**CONFIG, root=str(tmp_path / "there")))
    assert (tmp_path / "there" / SMALL.key / "images.npy").is_file()


def test_fingerprint_names_the_content(tmp_path):
    def fingerprint(**options):
        return SortOfClevr(Config(**{**CONFIG, "root": str(tmp_path), **options})).fingerprint

    changes = {"images": 41, "held_out": 6, "validation": 6, "questions": 18, "data_seed": 1}
    fingerprints = [fingerprint()] + [fingerprint(**{name: value}) for name, value in changes.items()]
    assert len(set(fingerprints)) == 6
    assert fingerprint(root=str(tmp_path / "other")) == fingerprints[0]


def flip(path):
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def edit(change):
    def damage(path):
        meta = json.loads(path.read_text())
        change(meta)
        path.write_text(json.dumps(meta))

    return damage


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("images.npy", flip, "the content is damaged, SHA-256 [0-9a-f]{64} found, [0-9a-f]{64} expected"),
        ("images.npy", cut, "675121 bytes found, 675128 expected"),
        ("images.npy", os.remove, "the file is missing"),
        ("scenes.npy", flip, "the content is damaged"),
        ("questions.npy", cut, "2521 bytes found, 2528 expected"),
        ("questions.npy", os.remove, "the file is missing"),
        ("meta.json", os.remove, "the file is missing"),
        ("meta.json", cut, "the file is damaged"),
        ("meta.json", lambda path: path.write_text("[]"), "the file is damaged"),
        ("meta.json", lambda path: path.write_bytes(b"\xff\x00"), "the file is damaged"),
        ("meta.json", edit(lambda meta: meta["files"].pop("images.npy")), "the file is damaged"),
        ("meta.json", edit(lambda meta: meta["options"].update(data_seed=5)), "'data_seed': 5.*expected"),
        ("meta.json", edit(lambda meta: meta.update(version=0)), "it describes {'version': 0.*expected"),
    ],
)
def test_damage_is_named(tmp_path, name, damage, message):
    open_store(tmp_path, SMALL)
    folder = tmp_path / SMALL.key
    damage(folder / name)
    with pytest.raises(DataError, match=message) as caught:
        open_store(tmp_path, SMALL)
    text = str(caught.value)
    assert text.startswith(f"{folder / name}: ")
    assert text.endswith(f"; delete the folder {folder} and run again to generate it anew")
    assert "\n" not in text


def test_a_deleted_folder_is_generated_anew(tmp_path):
    open_store(tmp_path, SMALL)
    for path in (tmp_path / SMALL.key).iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"meta\.json: the file is missing"):
        open_store(tmp_path, SMALL)
    (tmp_path / SMALL.key).rmdir()
    assert len(open_store(tmp_path, SMALL).images) == 40


def test_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write the generated data \(.*make room, or choose another"):
        open_store(tmp_path / "file" / "below", SMALL)
    (tmp_path / SMALL.key).write_text("not a folder")
    with pytest.raises(DataError, match="cannot write the generated data"):
        open_store(tmp_path, SMALL)


def test_full_disk(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        with pytest.raises(DataError, match=r"\(File too large\); it takes 1 MB: make room"):
            open_store(tmp_path, SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / SMALL.key).exists()
    assert len(open_store(tmp_path, SMALL).images) == 40
    assert folders(tmp_path) == [SMALL.key]


def content(parent, wanted):
    return {path.name: path.read_bytes() for path in (parent / wanted.key).iterdir()}


@pytest.mark.parametrize("block", [0, 1, 2])
def test_an_interruption_loses_one_block(tmp_path, monkeypatch, block):
    wanted = attrs.evolve(SMALL, images=2 * store.BLOCK + 10)
    blocks = []

    def interrupted(wanted, number):
        if number == block:
            raise KeyboardInterrupt
        return make_block(wanted, number)

    def counted(wanted, number):
        blocks.append(number)
        return make_block(wanted, number)

    monkeypatch.setattr(store, "make_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_store(tmp_path / "interrupted", wanted)
    assert not (tmp_path / "interrupted" / wanted.key).exists()
    monkeypatch.setattr(store, "make_block", counted)
    open_store(tmp_path / "interrupted", wanted)
    assert blocks == list(range(block, 3))
    open_store(tmp_path / "whole", wanted)
    assert content(tmp_path / "interrupted", wanted) == content(tmp_path / "whole", wanted)


def test_killed_while_it_writes(tmp_path):
    """The process ends at once, with one array of a block written and the others not."""
    code = (
        "import os, signal, sys, pathlib\n"
        "from hacore_packing.arrays import ArrayWriter\n"
        "from hacore_sort_of_clevr.store import Generated, open_store\n"
        "write = ArrayWriter.write\n"
        "def killed(self, start, values, extra=None):\n"
        "    if start and self.path.name == 'scenes.npy': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    write(self, start, values, extra)\n"
        "ArrayWriter.write = killed\n"
        "open_store(pathlib.Path(sys.argv[1]), Generated(images=600, questions=20, data_seed=0))\n"
    )
    wanted = attrs.evolve(SMALL, images=600)
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path / "killed")], timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / wanted.key).exists()
    for parent in (tmp_path / "killed", tmp_path / "whole"):
        open_store(parent, wanted)
    assert content(tmp_path / "killed", wanted) == content(tmp_path / "whole", wanted)
    assert folders(tmp_path / "killed") == [wanted.key]


def test_two_processes_at_once(tmp_path):
    """One of them generates, the other waits for it."""
    code = (
        "import logging, sys, time, pathlib\n"
        "from hacore_sort_of_clevr.store import Generated, open_store\n"
        "logging.basicConfig(level=logging.INFO, stream=sys.stdout, format='%(message)s')\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "while not (here / 'go').exists(): time.sleep(0.001)\n"
        "wanted = Generated(images=300, questions=20, data_seed=0)\n"
        "print(int(open_store(here / 'data', wanted).images.sum()))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    (tmp_path / "go").touch()
    printed = [process.communicate(timeout=60)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert printed[0][-1] == printed[1][-1] != ""
    assert sum(line.startswith("generating") for lines in printed for line in lines) == 1
    assert len(folders(tmp_path / "data")) == 1
