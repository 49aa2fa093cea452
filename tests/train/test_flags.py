"""What steps report between two looks, on a device where looks are rare and on one where they are not."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.train.flags import READ_EVERY, Flags

CPU = torch.device("cpu")


@pytest.fixture
def every(monkeypatch):
    """every(10): flags that are read every ten steps."""

    def make(steps):
        monkeypatch.setitem(READ_EVERY, "cpu", steps)
        return Flags(CPU)

    return make


def test_a_device_that_has_to_be_waited_for_is_asked_rarely():
    assert READ_EVERY["cpu"] == 1
    assert min(READ_EVERY["cuda"], READ_EVERY["mps"]) > 1


def test_a_look_is_due_every_few_steps(every):
    assert [done for done in range(1, 31) if every(10).due(done)] == [10, 20, 30]
    assert all(every(1).due(done) for done in range(1, 5))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_bad_step_is_named(every, value):
    flags = every(10)
    for step in range(20, 27):
        flags.check_finite(step, torch.tensor(1.5))
        flags.check_finite(step, torch.tensor(value if step in (23, 25) else 0.0))
    assert flags.read(27) == (False, 23)


def test_numbers_that_are_finite_are_no_news(every):
    flags = every(10)
    for step in range(3):
        flags.check_finite(step, torch.tensor(3.0e38))
        flags.check_finite(step, torch.tensor(-0.0))
    assert flags.read(3) == (False, None)


def test_several_bad_numbers_of_a_step_are_one_bad_step(every):
    """As of the parts of a step and of several processes, which are added up."""
    flags = every(10)
    for _ in range(3):
        flags.check_finite(4, torch.tensor(math.nan))
    flags.values += flags.values.clone()
    assert flags.read(6) == (False, 4)


def test_reading_starts_again_from_nothing(every):
    flags = every(10)
    flags.check_finite(2, torch.tensor(math.nan))
    flags.request_stop(True)
    assert flags.read(3) == (True, 2)
    assert flags.read(4) == (False, None)
    assert flags.values.tolist() == [0] * 11


def test_clearing_forgets(every):
    flags = every(10)
    flags.check_finite(2, torch.tensor(math.nan))
    flags.request_stop(True)
    flags.clear()
    assert flags.read(3) == (False, None)


def test_the_wish_to_stop(every):
    flags = every(10)
    flags.request_stop(False)
    assert flags.read(1) == (False, None)
    flags.request_stop(False)
    flags.request_stop(True)
    flags.request_stop(False)
    assert flags.read(2) == (True, None)


def test_steps_before_the_first_are_not_named(every):
    """The first look may come before ``READ_EVERY`` steps are done, as at a log."""
    flags = every(10)
    flags.check_finite(0, torch.tensor(math.nan))
    assert flags.read(1) == (False, 0)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 12), st.integers(0, 50), st.data())
def test_however_many_steps_lie_between_two_looks(steps, first, data):
    """At most as many as the flags have places for; what was found before does not count any more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(READ_EVERY, "cpu", steps)
        flags = Flags(CPU)
    done = first
    for _ in range(3):
        # A look may come early, it never comes late.
        count = data.draw(st.integers(1, steps))
        bad = data.draw(st.sets(st.integers(0, count - 1)))
        for step in range(done, done + count):
            flags.check_finite(step, torch.tensor(math.nan if step - done in bad else 1.0))
        expected = done + min(bad) if bad else None
        done += count
        assert flags.read(done) == (False, expected)
