import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from hacore.machine.memory import keep_freed_memory

glibc = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")

FAULTS = """
import resource
from hacore.machine.memory import keep_freed_memory
assert {keep}
for _ in range(30):
    b"x" * (40 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(keep):
    """Page faults of a program that allocates and frees 40 MB thirty times."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    return int(done.stdout)


@pytest.mark.skipif(not glibc, reason="another C library")
def test_memory_is_used_again_rather_than_fetched_anew():
    without = faults("True")
    assert faults("keep_freed_memory()") < without / 2


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("loaded the C library"))
    assert keep_freed_memory() is False


@pytest.mark.parametrize("library", [SimpleNamespace(), OSError("no library")])
def test_another_c_library_is_left_alone(monkeypatch, library):
    def load(name):
        if isinstance(library, OSError):
            raise library
        return library

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert keep_freed_memory() is False


def test_a_refused_setting_is_told(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=lambda option, value: 0))
    assert keep_freed_memory() is False
