"""What a person reads while a sweep runs."""

import io

import pytest
import rich.console
from hacore_sweep import ConsoleSweepReporter, Outcome, State, SweepFolder, run_sweep
from hacore_sweep._jobs import _last_line

from hacore.console import Console
from hacore.errors import RunError
from hacore.runs import RunFolder
from hacore.runs.metrics import MetricsFile, TrainLine


@pytest.fixture
def outcomes(sweep):
    plan = sweep('[sweep]\nselector.k = [4, 5]\nfuser.use = ["multiply", "add"]')
    return [Outcome(combination=combination) for combination in plan.combinations]


def far(outcome, **values):
    given = {"done": 0.25, "epoch": 3.0, "accuracy": 0.8125, "kept": 0.04, "seconds_left": 605.0, **values}
    return State(label=outcome.combination.label, **given)


def test_plain_lines(outcomes):
    lines = []
    reporter = ConsoleSweepReporter(Console(lines.append, seconds=0.0))
    reporter.start(1, 4, 2)
    outcomes[1].folder = RunFolder("somewhere")
    reporter.started(outcomes[0])
    reporter.started(outcomes[1])
    nothing = {"done": 0.0, "epoch": None, "accuracy": None, "kept": None, "seconds_left": None}
    reporter.progress([far(outcomes[0]), far(outcomes[1], **nothing)])
    outcomes[0].status, outcomes[0].error = "failed", "no such thing"
    reporter.ended(outcomes[0])
    reporter.stop()
    first, second = (outcome.combination.label for outcome in outcomes[:2])
    assert lines == [
        "4 runs, 1 of them finished before; 2 at a time",
        "finished: 1 of 4",
        f"start     {first}",
        f"{first}:   0%  starting",
        f"resume    {second}",
        f"{second}:   0%  starting",
        f"{first}:  25%  accuracy 81.2%  kept 4.0%  0:10:05 left",
        f"{second}:   0%  starting",
        f"failed    {first}: no such thing",
        "finished: 1 of 4",
    ]


def test_a_run_that_is_measured_is_not_said_to_be_done(outcomes):
    lines = []
    reporter = ConsoleSweepReporter(Console(lines.append, seconds=60.0))
    reporter.start(0, 4, 1)
    reporter.started(outcomes[0])
    reporter.progress([far(outcomes[0], done=1.0)])
    assert [line.split()[0] for line in lines] == ["4", "start"]


def test_bars_on_a_terminal(outcomes):
    text = io.StringIO()
    screen = rich.console.Console(
        file=text, force_terminal=True, force_interactive=True, width=100, color_system=None
    )
    reporter = ConsoleSweepReporter(Console(screen=screen))
    reporter.start(1, 4, 2)
    reporter.started(outcomes[0])
    reporter.progress([far(outcomes[0])])
    reporter.stop()
    *_, overall, last = [line for line in text.getvalue().splitlines() if "━" in line]
    assert "1 of 4" in overall
    assert "k4-multiply-seed0" in last
    assert "accuracy 81.2%  kept 4.0%  0:10:05 left" in last
    assert "25%" in last


def test_the_state_is_the_last_whole_line_about_training(tmp_path):
    folder = RunFolder(tmp_path)
    assert _last_line(folder) is None
    metrics = MetricsFile(folder.metrics_file, 0)
    values = {"epoch": 0.5, "loss": 1.0, "accuracy": 0.5, "kept": 0.2, "lr": 0.1, "seconds": 1.0}
    for step in (1, 2):
        metrics.write(TrainLine(step=step, **values))
    metrics.close()
    with open(folder.metrics_file, "a") as file:
        file.write('{"kind": "train", "st')
    assert _last_line(folder).step == 2


def test_what_is_no_sweep_folder(tmp_path):
    with pytest.raises(RunError, match=r"not a sweep folder.*sweep\.json.*'hacore sweep'"):
        SweepFolder.open(tmp_path)
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(RunError, match=r"sweep\.json: .*JSON.*'hacore sweep'"):
        SweepFolder.open(tmp_path).index()


def test_from_python_a_sweep_says_what_it_does_unless_it_is_quiet(sweep, capsys):
    plan = sweep("[sweep]\nseeds = [1]\nselector.k = [4]")
    folder, _ = run_sweep(plan, jobs=1, device="cpu")
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0] == "1 runs; 1 at a time"
    assert any(line.startswith("finished") and "seed 1: accuracy" in line for line in lines)
    run_sweep(sweep("[sweep]\nseeds = [1, 2]\nselector.k = [4]"), jobs=1, device="cpu", quiet=True)
    assert len(folder.index()["runs"]) == 2
    assert capsys.readouterr() == ("", "")
