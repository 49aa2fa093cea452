import json
import random

import pytest
import torch
from torch import nn

from hacore.errors import RunError
from hacore.machine import files
from hacore.machine.files import load_tensors, save_tensors, write_whole
from hacore.machine.processes import World
from hacore.train.checkpoint import Position, load_checkpoint, load_model, save_checkpoint


def a_model(width=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def stepped(model):
    """An optimiser that has a state, and the metrics' sums."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.randn(5, 2)).sum().backward()
    optimizer.step()
    return optimizer, torch.rand(3, 4, dtype=torch.float64)


def saved(path, model=None):
    model = model or a_model()
    optimizer, sums = stepped(model)
    at = Position(step=7, best=1 / 3, stale=2, seconds=1.5, metrics_bytes=99, identity="abc")
    save_checkpoint(path, at, model, optimizer, sums, World())
    return model, optimizer, sums, at


def test_everything_comes_back(tmp_path):
    path = tmp_path / "new" / "last.safetensors"
    model, optimizer, sums, at = saved(path)
    expected = torch.rand(3)  # what this process would draw next
    other = a_model()
    with torch.no_grad():
        other[0].weight.zero_()
    blank = torch.optim.AdamW(other.parameters(), lr=0.1)
    zeros = torch.zeros_like(sums)
    torch.manual_seed(99)
    assert load_checkpoint(path, "abc", other, blank, zeros, World()) == at
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(zeros, sums)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    for one, two in zip(optimizer.state.values(), blank.state.values(), strict=True):
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_random_state_is_saved_not_changed(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = a_model()
    optimizer, sums = stepped(model)
    torch.manual_seed(5)
    save_checkpoint(tmp_path / "c.safetensors", Position(), model, optimizer, sums, World())
    assert torch.equal(torch.rand(3), expected)


def test_another_identity_is_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    model, optimizer, sums, _ = saved(path)
    with pytest.raises(RunError, match=r"another spec or other data.*resume the run it is from"):
        load_checkpoint(path, "abd", model, optimizer, sums, World())


def test_another_number_of_processes_is_refused(tmp_path, names):
    path = tmp_path / "last.safetensors"
    model, optimizer, sums, _ = saved(path)
    with pytest.raises(RunError) as caught:
        load_checkpoint(path, "abc", model, optimizer, sums, World(processes=4))
    names(str(caught.value), f"{path}:", "1 process", "4", "resume with as many")


@pytest.mark.parametrize("other", [lambda: a_model(width=4), lambda: a_model()[:1]])
def test_another_model_is_refused(tmp_path, other):
    path = tmp_path / "last.safetensors"
    saved(path)
    with pytest.raises(RunError, match=r"does not fit.*: \S+ and \d+ others.*; use"):
        load_model(path, load_tensors(path)[0], other())


def test_weights_that_are_tied_are_saved_twice(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    tensors = dict(model.state_dict())
    save_tensors(tmp_path / "tied.safetensors", tensors, {})
    loaded, _ = load_tensors(tmp_path / "tied.safetensors")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(True),
        torch.zeros(0, 3),
        torch.arange(6).view(2, 3).t(),
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(1).expand(4),
        torch.tensor(3.5, dtype=torch.float64),
    ],
)
def test_tensors_of_every_kind_come_back(tmp_path, tensor):
    save_tensors(tmp_path / "t.safetensors", {"x": tensor}, {"step": 1})
    loaded, state = load_tensors(tmp_path / "t.safetensors")
    assert loaded["x"].dtype == tensor.dtype
    assert torch.equal(loaded["x"], tensor)
    assert state == {"step": 1}


def test_a_flipped_bit_anywhere_is_found(tmp_path, names):
    path = tmp_path / "last.safetensors"
    saved(path)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    draw = random.Random(0)
    places = [*range(8), *draw.sample(range(8, header), 60), *draw.sample(range(header, len(whole)), 40)]
    for place in places:
        broken = bytearray(whole)
        broken[place] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        with pytest.raises(RunError) as caught:
            load_tensors(path)
        names(str(caught.value), f"{path}:")


@pytest.mark.parametrize("part", [0, 4, 100, -1])
def test_a_file_cut_short_is_found(tmp_path, part):
    path = tmp_path / "last.safetensors"
    saved(path)
    path.write_bytes(path.read_bytes()[:part])
    with pytest.raises(RunError, match=r"damaged checkpoint.*use the other checkpoint.*run the spec again"):
        load_tensors(path)


def test_other_files_are_no_checkpoints(tmp_path):
    with pytest.raises(RunError, match="no such checkpoint"):
        load_tensors(tmp_path / "none.safetensors")
    import safetensors.torch

    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(RunError, match="not a checkpoint of hacore"):
        load_tensors(tmp_path / "foreign.safetensors")


class Stop(BaseException):
    """A Ctrl-C, say."""


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Stop()])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path, names, monkeypatch, function, error
):
    path = tmp_path / "last.safetensors"
    model, _, _, at = saved(path)
    before = path.read_bytes()

    def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(files.os, function, fail)
        expected = RunError if isinstance(error, OSError) else Stop
        with pytest.raises(expected) as caught:
            saved(path, model)
    if expected is RunError:
        names(str(caught.value), f"{path}:", "No space left on device", "make room", "--runs")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert load_tensors(path)[1]["step"] == at.step


def test_a_leftover_of_a_dead_process_is_in_nobodys_way(tmp_path):
    path = tmp_path / "state.json"
    (tmp_path / ".state.json.1.tmp").write_bytes(b"half")
    write_whole(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match=r"runs/state\.json: cannot be written.*--runs"):
        write_whole(tmp_path / "runs" / "state.json", b"")


def test_the_state_is_text_that_a_person_can_read(tmp_path):
    path = tmp_path / "last.safetensors"
    saved(path)
    whole = path.read_bytes()
    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    assert json.loads(header["__metadata__"]["state"])["step"] == 7


def test_the_state_of_the_optimiser_has_the_layout_of_its_parameters(tmp_path):
    """Numbers that lie elsewhere in memory may be rounded otherwise in the next step."""
    path = tmp_path / "last.safetensors"

    def a_convolution():
        torch.manual_seed(0)
        conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return conv, torch.optim.AdamW(conv.parameters(), lr=0.1)

    model, optimizer = a_convolution()
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    sums = torch.zeros(1, dtype=torch.float64)
    save_checkpoint(path, Position(step=1), model, optimizer, sums, World())
    other, blank = a_convolution()
    load_checkpoint(path, "", other, blank, sums, World())
    for name in ("exp_avg", "exp_avg_sq"):
        saved_, loaded = (
            each.state[conv.weight][name] for conv, each in ((model, optimizer), (other, blank))
        )
        assert torch.equal(loaded, saved_)
        assert loaded.stride() == saved_.stride() == other.weight.stride()
    assert not other.weight.is_contiguous()
