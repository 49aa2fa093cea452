"""Folders that one process makes at a time."""

import threading

import pytest
from hacore_packing.folders import only_one

from hacore.data_tools import Silent
from hacore.errors import DataError


def test_another_process_makes_it_wait(tmp_path):
    """The second comes in when the first has left."""
    messages, order = [], []

    class Tell(Silent):
        def message(self, text):
            messages.append(text)
            release.set()

    def second():
        with only_one(tmp_path / "pack", Tell()):
            order.append("second")

    release = threading.Event()
    thread = threading.Thread(target=second)
    with only_one(tmp_path / "pack", Silent()):
        thread.start()
        assert release.wait(30)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    assert messages == [f"waiting for another process that makes {tmp_path / 'pack'}"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match=r"file/pack: .*make room or choose another folder"),
        only_one(tmp_path / "file" / "pack", Silent()),
    ):
        pass
    with (
        pytest.raises(DataError, match=r"pack: .*full.*run again"),
        only_one(tmp_path / "pack", Silent()),
    ):
        raise OSError(28, "the disk is full")
