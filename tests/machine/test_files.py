"""Files that are whole or absent, and checkpoints that say when they are damaged."""

import json
import random

import pytest
import safetensors.torch
import torch

from hacore.errors import RunError
from hacore.machine.files import load_tensors, read_json, save_tensors, write_json, write_whole

TENSORS = {
    "weight": torch.randn(3, 4),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "empty": torch.zeros(0, 3),
    "half": torch.randn(2, 2).bfloat16(),
    "integers": torch.arange(5),
    "bytes": torch.arange(7, dtype=torch.uint8),
    "flag": torch.tensor([True, False]),
    "view": torch.randn(4, 6)[:, ::2].T,
}
STATE = {"step": 3, "best": 0.1, "identity": "é", "none": None}


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "deep" / "file.txt"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, names, monkeypatch):
    path = tmp_path / "file.txt"
    write_whole(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError) as error:
        write_whole(path, b"new")
    names(str(error.value), f"{path}:", "cannot be written", "No space left on device", "make room", "--runs")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_whole(path, b"old")

    def ctrl_c(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(
        RunError, match=r"runs.result\.json: cannot be written.*(Not a directory|File exists)"
    ):
        write_whole(tmp_path / "runs" / "result.json", b"{}")


def test_json(tmp_path, names):
    path = tmp_path / "a.json"
    write_json(path, {"accuracy": 0.1, "word": "é"})
    assert path.read_text(encoding="utf-8") == '{\n  "accuracy": 0.1,\n  "word": "é"\n}\n'
    assert read_json(path, "run again") == {"accuracy": 0.1, "word": "é"}
    for content, problem in [(b"{", "Expecting property name"), (b"\xff", "0xff")]:
        path.write_bytes(content)
        with pytest.raises(RunError) as error:
            read_json(path, "run again")
        names(str(error.value), f"{path}:", problem, "run again")
    path.unlink()
    with pytest.raises(RunError, match=r"a\.json: missing.*run again"):
        read_json(path, "run again")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "last.safetensors"
    save_tensors(path, TENSORS, STATE)
    return path


def test_tensors_come_back_bit_for_bit(saved):
    tensors, state = load_tensors(saved)
    assert state == STATE
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_tensors_that_share_memory_are_saved(tmp_path):
    x = torch.randn(3)
    save_tensors(tmp_path / "x", {"a": x, "b": x, "c": x[1:]}, {})
    tensors, _ = load_tensors(tmp_path / "x")
    assert torch.equal(tensors["b"], x)
    assert torch.equal(tensors["c"], x[1:])


def test_every_flipped_byte_is_found(saved, names):
    whole = saved.read_bytes()
    rng = random.Random(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    # All of the content, and a sample of the header, where most flips break its JSON.
    for at in [*range(8), *rng.sample(range(8, header), 200), *range(header, len(whole))]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.randrange(8)
        if at < header and _same_header(whole, damaged, header):
            continue
        saved.write_bytes(damaged)
        with pytest.raises(RunError) as error:
            load_tensors(saved)
        names(str(error.value), f"{saved}:")


def _same_header(whole, damaged, header):
    """A flip in the white space of the header changes nothing."""
    try:
        return json.loads(whole[8:header]) == json.loads(damaged[8:header]) and whole[:8] == damaged[:8]
    except ValueError:
        return False


def test_damage_is_told_in_one_line_with_the_way_out(saved, names, tmp_path):
    whole = saved.read_bytes()
    for content, problem in [
        (whole[:-1], "damaged checkpoint"),
        (whole[:20], "damaged checkpoint"),
        (b"", "damaged checkpoint: it is empty"),
        (b"<!doctype html><html>", "damaged checkpoint: it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "damaged checkpoint: it is a pointer of Git LFS"),
        (b"PK\3\4 a zip file" * 9, "damaged checkpoint"),
        (whole[:-1] + bytes([whole[-1] ^ 1]), "checksum"),
        (safetensors.torch.save({"a": torch.ones(2)}), "not a checkpoint"),
    ]:
        saved.write_bytes(content)
        with pytest.raises(RunError) as error:
            load_tensors(saved)
        names(str(error.value), f"{saved}:", problem, "use the other checkpoint", "run the spec again")
    with pytest.raises(RunError, match=r"gone: no such checkpoint"):
        load_tensors(tmp_path / "gone")
    with pytest.raises(RunError, match=r"damaged checkpoint"):
        load_tensors(tmp_path)


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "last.safetensors"
    torch.save({"state": torch.ones(3)}, path)
    with pytest.raises(RunError, match=r"damaged checkpoint"):
        load_tensors(path)
