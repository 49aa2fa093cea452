"""Work in child processes: what they return and raise comes back, and their end is noticed."""

import attrs
import pytest
from hacore_packing import children

from hacore.errors import DataError


@attrs.frozen
class Job:
    number: int

    @property
    def what(self):
        return f"number {self.number}"


def square(job):
    print("a word on standard output does no harm")
    if job.number < 0:
        raise ValueError(f"{job.what} is negative")
    return job.number**2


TARGET = f"{__name__}:square"


@pytest.mark.parametrize("workers", [1, 3])
def test_every_result_comes_back(workers):
    assert sorted(children.do_all(TARGET, [Job(number) for number in range(20)], workers)) == [
        number**2 for number in range(20)
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_raised_is_raised_here(workers):
    with pytest.raises(ValueError, match="number -1 is negative"):
        list(children.do_all(TARGET, [Job(3), Job(-1)], workers))


def test_a_process_that_dies_is_reported(monkeypatch):
    start = children._start_child

    def doomed(target):
        child = start(target)
        child.kill()
        return child

    monkeypatch.setattr(children, "_start_child", doomed)
    with pytest.raises(DataError, match=r"number \d: .*process .* ended .*fewer workers"):
        list(children.do_all(TARGET, [Job(number) for number in range(6)], 2))


def test_modules_of_the_working_folder_are_not_those_of_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("random", "types", "pickle", "signal", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the module of the working folder')")
    assert sorted(children.do_all(TARGET, [Job(2), Job(3)], 2)) == [4, 9]
