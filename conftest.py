"""Fixtures of the core's tests: a data cache of their own, small data, plugins made for one test."""

import copy
import importlib
import logging
import os
import re
import sys

import attrs
import pytest

from hacore.cli import main
from hacore.registry import discovery as registries

# Before torch is imported: the tensors of these tests are too small to be shared among threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TINY = {
    "data.images": 40,
    "data.held_out": 5,
    "data.validation": 5,
    "image_encoder.channels": [4, 8],
    "image_encoder.strides": [4],
    "train.steps": 3,
    "train.batch_images": 4,
    "train.processes": 1,
    "train.threads": 1,
    "train.warmup_steps": 0,
    "eval.baseline_steps": 2,
}


SMALL = {
    "seed": 1,
    "data": {"use": "sort-of-clevr", "images": 40, "held_out": 6, "validation": 4},
    "image_encoder": {"use": "small-cnn", "channels": [4, 6], "strides": [4]},
    "question_encoder": {"use": "lstm", "embedding": 8, "hidden": 8},
    "fuser": {"use": "multiply", "width": 8},
    "selector": {"use": "l2-topk", "k": 6},
    "aggregator": {"use": "rn", "width": 8},
}


def pytest_addoption(parser):
    """Of the mutation test, tests/mutation; pytest takes options here only."""
    group = parser.getgroup("mutation")
    group.addoption("--mutation-minutes", type=float, default=30.0, help="how long inputs are damaged")
    group.addoption("--mutation-seed", type=int, help="draws the inputs; default: another each time")
    group.addoption("--mutation-only", type=int, metavar="NUMBER", help="one input of the seed")
    group.addoption("--mutation-from", type=int, default=0, metavar="NUMBER", help="the first input")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """No test reads or fills the user's own cache, nor do the processes it starts."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HACORE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny():
    """Overrides that make a spec of Sort-of-CLEVR with the small CNN run in a second."""
    return tuple(f"{key}={value}" for key, value in TINY.items())


@pytest.fixture(scope="session")
def small_table():
    """small_table("name", head={...}): a spec of a small model as a table, with these sections replaced."""

    def make(name, **sections):
        return {"name": name, **copy.deepcopy(SMALL), **copy.deepcopy(sections)}

    return make


@pytest.fixture(scope="module")
def one_thread():
    """Torch has one thread in this module, and as many as before after it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def cpu_multiplies_bfloat16(monkeypatch):
    """cpu_multiplies_bfloat16(False): as on a CPU without instructions for bfloat16, or with them."""

    def pretend(answer):
        from hacore.measure import predict

        monkeypatch.setattr(
            predict,
            "multiplies_bfloat16",
            lambda device: answer if device.type == "cpu" else device.type == "cuda",
        )

    return pretend


@pytest.fixture
def flags(tiny):
    """``tiny`` for the command line."""
    return [word for override in tiny for word in ("--set", override)]


@attrs.frozen
class Ran:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def error(self):
        """The one line of a command that failed as it should, without the program's name."""
        assert self.status == 1, self
        assert self.out == ""
        (line,) = [line for line in self.err.splitlines() if line.startswith("hacore: ")]
        assert self.err.endswith(line + "\n")
        assert "Traceback" not in self.err
        return line.removeprefix("hacore: ")


@pytest.fixture
def cli(capsys):
    """cli("check", spec, ...) runs a command in this process."""
    logger = logging.getLogger("hacore")
    before = logger.handlers, logger.level, logger.propagate

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        return Ran(left.value.code or 0, *capsys.readouterr())

    yield run
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture(scope="session")
def names():
    """names(text, *parts): the text is one line in which these parts occur as words, in this order."""

    def check(text, *parts):
        __tracebackhide__ = True
        assert "\n" not in text, text
        rest = text
        for part in parts:
            match = re.search(rf"(?:\b|(?=\W)){re.escape(part)}(?:\b|(?<=\W))", rest)
            if match is None:
                pytest.fail(f"{part!r} is missing from {rest!r}, in {text!r}")
            rest = rest[match.end() :]

    return check


@pytest.fixture
def fresh_registry():
    """The registry is read anew in this test, and again after it."""
    registries.registry.cache_clear()
    yield registries.registry
    registries.registry.cache_clear()


@pytest.fixture
def install(tmp_path, monkeypatch, fresh_registry):
    """install(module, source, **files) puts a plugin on sys.path as pip would; returns the folder.

    The distribution is called as the module, with hyphens. files: further modules by name.
    """
    folder = tmp_path / "site"
    names = []

    def run(module, source, **files):
        distribution = module.replace("_", "-")
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[hacore]\n{distribution} = {module}\n")
        for name, text in {module: source, **files}.items():
            (folder / f"{name}.py").write_text(text)
            names.append(name)
        monkeypatch.syspath_prepend(folder)
        importlib.invalidate_caches()
        fresh_registry.cache_clear()
        return folder

    yield run
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def uninstall(monkeypatch, fresh_registry):
    """uninstall(distribution) hides an installed package from the registry."""

    def run(distribution):
        entry_points = registries.entry_points
        monkeypatch.setattr(
            registries,
            "entry_points",
            lambda group: [point for point in entry_points(group=group) if point.dist.name != distribution],
        )
        fresh_registry.cache_clear()

    return run
