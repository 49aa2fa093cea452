"""A clock that only moves when a test moves it, and small subjects."""

import pytest
import torch
from hacore_bench.clock import Clock
from hacore_bench.subject import open_subject


class Moved(Clock):
    """now: seconds. each: how much later every mark is than the one before."""

    def __init__(self, each=0.0):
        self.now, self.each = 0.0, each

    def mark(self):
        self.now += self.each
        return self.now


@pytest.fixture
def moved():
    return Moved


@pytest.fixture
def open_small(tiny, request):
    """open_small("selector.k=4", spec="han_sum"): a small copy of an experiment as a subject."""

    def run(*overrides, spec="han_rn", **options):
        path = request.config.rootpath / "experiments" / f"{spec}.toml"
        return open_subject(path, [*tiny, *overrides], device="cpu", **options)

    return run


@pytest.fixture(autouse=True)
def threads():
    """What is measured sets torch's threads, as training does."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
