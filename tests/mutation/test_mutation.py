"""Whatever is damaged, a command succeeds or says so in lines of its own, and what is whole stays whole."""

import secrets
import shutil
import time

import pytest
import subjects
from harness import attempt, digests, judge, run, table

LIMIT = 60.0  # seconds of one input
SAMPLE = 40  # inputs of the test that is not slow


@pytest.fixture(scope="session")
def makers(tmp_path_factory, request):
    return subjects.Makers(tmp_path_factory.mktemp("subjects"), request.config.rootpath).all()


@pytest.fixture
def try_inputs(makers, tmp_path, capsys, one_thread):
    """try_inputs(seed, numbers) tries the inputs, prints faults and counts, and returns the attempts."""

    def go(seed, numbers):
        attempts = []
        for number in numbers:
            attempts.append(each := attempt(makers, seed, number, tmp_path / str(number), LIMIT))
            if each.fault:
                with capsys.disabled():
                    print(
                        f"\n{each}\n  {each.fault}\n  again: {repeat(seed, number)}; {tmp_path / str(number)}"
                    )
                (tmp_path / f"{number}.txt").write_text(f"{each}\n{each.fault}\n{each.output}\n")
        with capsys.disabled():
            print(f"\nmutation seed {seed}\n{table(attempts)}")
        return attempts

    return go


def repeat(seed, number):
    """The command that tries an input again."""
    return f"pytest tests/mutation -m slow --mutation-seed {seed} --mutation-only {number}"


@pytest.mark.slow
def test_damaged_inputs(try_inputs, request):
    option = request.config.getoption
    seed = option("--mutation-seed")
    seed = secrets.randbelow(10**6) if seed is None else seed
    end = time.monotonic() + 60 * option("--mutation-minutes")

    def numbers():
        number = option("--mutation-from")
        while time.monotonic() < end:
            yield number
            number += 1

    only = option("--mutation-only")
    attempts = try_inputs(seed, numbers() if only is None else [only])
    faults = [each for each in attempts if each.fault]
    assert not faults, f"{len(faults)} of {len(attempts)} inputs; again: {repeat(seed, faults[0].number)}"


@pytest.mark.slow
def test_every_command_succeeds_on_what_is_whole(makers, tmp_path, one_thread):
    refused = []
    for maker in makers.values():
        subject = maker()
        for number, command in enumerate(subject.commands):
            place = tmp_path / f"{subject.name}{number}"
            shutil.copytree(subject.folder, place, symlinks=True)
            before = digests(place)
            ended = run(command, place, 10 * LIMIT)
            fault = judge(ended, command, before, digests(place), "")
            if ended.status or fault:
                refused.append(f"{subject.name}: {command.words}: {fault or ended.err}")
            shutil.rmtree(place)
    assert refused == []


def test_a_sample_of_damaged_inputs(try_inputs):
    attempts = try_inputs(1, range(SAMPLE))
    assert [str(each) for each in attempts if each.fault] == []
    assert {each.status for each in attempts} >= {0, 1}
    assert len({each.subject for each in attempts}) > 5
