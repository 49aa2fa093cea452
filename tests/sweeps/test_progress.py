"""What a person reads while a sweep runs."""

import io

import pytest
from rich.console import Console

from hacore.errors import RunError
from hacore.runs import RunFolder
from hacore.sweeps import Outcome, State, SweepFolder, sweep_reporter_for
from hacore.sweeps._jobs import _last_line
from hacore.sweeps._progress import LiveSweep, PlainSweep


@pytest.fixture
def outcomes(sweep):
    made = sweep('[sweep]\nselector.k = [4, 5]\nfuser.use = ["multiply", "add"]')
    return [Outcome(combination=it) for it in made.combinations]


def far(outcome, **values):
    given = {"done": 0.25, "epoch": 3.0, "accuracy": 0.8125, "kept": 0.04, "seconds_left": 605.0, **values}
    return State(label=outcome.combination.label, **given)


def test_plain_lines(outcomes):
    text = io.StringIO()
    reporter = PlainSweep(Console(file=text, width=40), seconds=0.0)
    reporter.start(1, 4, 2)
    outcomes[1].folder = RunFolder("somewhere")
    reporter.started(outcomes[0])
    reporter.started(outcomes[1])
    nothing = {"done": 0.0, "epoch": None, "accuracy": None, "kept": None, "seconds_left": None}
    reporter.progress([far(outcomes[0]), far(outcomes[1], **nothing)])
    outcomes[0].status, outcomes[0].error = "failed", "no such thing"
    reporter.ended(outcomes[0])
    reporter.stop()
    assert text.getvalue().splitlines() == [
        "4 runs, 1 of them finished before; 2 at a time",
        "start     selector.k = 4, fuser.use = multiply, seed 0",
        "go on     selector.k = 4, fuser.use = add, seed 0",
        " 25%      selector.k = 4, fuser.use = multiply, seed 0: accuracy 81.2%  kept 4.0%  0:10:05 left",
        "  0%      selector.k = 4, fuser.use = add, seed 0: starting",
        "failed    selector.k = 4, fuser.use = multiply, seed 0: no such thing  (1 of 4 finished)",
    ]


def test_plain_lines_come_once_a_minute(outcomes):
    text = io.StringIO()
    reporter = PlainSweep(Console(file=text))
    for _ in range(3):
        reporter.progress([far(outcomes[0])])
    assert text.getvalue() == ""


def test_bars_on_a_terminal(outcomes):
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80, color_system=None)
    reporter = sweep_reporter_for(console)
    assert isinstance(reporter, LiveSweep)
    reporter.start(1, 4, 2)
    reporter.started(outcomes[0])
    reporter.progress([far(outcomes[0])])
    reporter.stop()
    *_, overall, last = [line for line in text.getvalue().splitlines() if "━" in line]
    assert "1 of 4 finished" in overall
    assert "k4-multiply-seed0" in last
    assert "accuracy 81.2%  kept 4.0%  0:10:05 left" in last
    assert "25%" in last
    assert isinstance(sweep_reporter_for(Console(file=text)), PlainSweep)


def test_the_state_is_the_last_whole_line_about_training(tmp_path):
    folder = RunFolder(tmp_path)
    assert _last_line(folder) == {}
    lines = ['{"kind": "train", "step": 1}', '{"kind": "train", "step": 2}', '{"kind": "eval", "step": 2}']
    folder.metrics_file.write_text("\n".join([*lines, '{"kind": "train", "st']))
    assert _last_line(folder) == {"kind": "train", "step": 2}


def test_what_is_no_sweep_folder(tmp_path):
    with pytest.raises(RunError, match=r"is not a sweep folder: it has no sweep\.json; 'hacore sweep' makes"):
        SweepFolder.open(tmp_path)
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(RunError, match=r"sweep\.json: cannot be read as JSON: .*run 'hacore sweep' with the"):
        SweepFolder.open(tmp_path).index()
