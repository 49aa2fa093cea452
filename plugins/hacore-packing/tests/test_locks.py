"""Locks: one process at a time, waiting or giving up as asked."""

import threading

import filelock
import pytest
from hacore_packing.locks import locked


def nothing():
    raise AssertionError("nobody holds it")


def test_the_second_comes_in_when_the_first_has_left(tmp_path):
    order, waits = [], threading.Event()

    def second():
        with locked(tmp_path / "lock", waits.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path / "lock", nothing):
        thread.start()
        assert waits.wait(30)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_what_is_busy_may_be_given_up(tmp_path):
    def busy():
        raise RuntimeError("taken")

    with (
        locked(tmp_path / "lock", nothing),
        pytest.raises(RuntimeError, match="taken"),
        locked(tmp_path / "lock", busy),
    ):
        pass
    with locked(tmp_path / "lock", nothing):
        pass


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def acquire(self, **options):
        raise NotImplementedError("no flock")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(OSError, match="has no locks"), locked(tmp_path / "lock", nothing):
        pass
