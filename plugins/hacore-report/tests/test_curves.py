"""How accuracy rose in trainings: the right points against the right axes."""

import pytest
from click.testing import CliRunner
from hacore_report import plot_curves
from hacore_report.plot_command import plot

from hacore.errors import HacoreError
from hacore.runs.metrics import EvalLine, MetricsFile, TrainLine


def write_metrics(folder, points, seen=True):
    """points: (questions seen, seconds, accuracy) of each evaluation; before each comes a training line."""
    lines = MetricsFile(folder / "metrics.jsonl", 0)
    for step, (questions, seconds, accuracy) in enumerate(points, start=1):
        shared = {"step": step, "epoch": step / 2, "loss": 1.0, "kept": 0.25, "seconds": seconds}
        shared["questions_seen"] = questions if seen else None
        lines.write(TrainLine(**shared, accuracy=0.9, lr=0.1))
        lines.write(EvalLine(**shared, accuracy=accuracy, split="dev", questions=10, by_type={}, by_group={}))
    lines.close()


@pytest.fixture
def run(write_run):
    folder = write_run("name=first", seed=3)
    write_metrics(folder, [(500_000, 1800.0, 0.5), (1_500_000, 5400.0, 0.75)])
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *given, **named: (figures.append(self), save(self, *given, **named))
    )
    return figures


def test_accuracy_of_evaluations_against_questions_and_hours(run, write_run, drawn, tmp_path):
    other = write_run("name=second")
    write_metrics(other, [(1_000_000, 3600.0, 0.25)])
    (other / "result.json").unlink()  # still in training
    assert plot_curves([run, other], tmp_path / "a.svg") == ()
    (figure,) = drawn
    questions, hours = figure.axes
    assert "million" in questions.get_xlabel()
    assert "hours" in hours.get_xlabel()
    assert "dev" in questions.get_ylabel()
    for ax, across in ((questions, ([0.5, 1.5], [1.0])), (hours, ([0.5, 1.5], [1.0]))):
        lines = ax.get_lines()
        assert [line.get_label() for line in lines] == ["first, seed 3", "second, seed 0"]
        assert [list(line.get_xdata()) for line in lines] == list(across)
        assert [list(line.get_ydata()) for line in lines] == [[50.0, 75.0], [25.0]]
    assert (tmp_path / "a.svg").stat().st_size


def test_many_trainings_look_different(write_run, drawn, tmp_path):
    runs = [write_run(f"name=stage{number}") for number in range(15)]
    for number, folder in enumerate(runs):
        write_metrics(folder, [(500_000, 1800.0, number / 20), (1_000_000, 3600.0, number / 15)])
    plot_curves(runs, tmp_path / "a.svg")
    lines = drawn[0].axes[0].get_lines()
    # The dashes as they were given: matplotlib names all but the solid line "--".
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in lines}) == 15


def test_runs_that_cannot_be_drawn_are_noted(run, write_run, tmp_path):
    fresh, older = write_run("name=fresh"), write_run("name=older")
    write_metrics(older, [(0, 1.0, 0.5)], seen=False)
    notes = plot_curves([run, fresh, older], tmp_path / "a.svg")
    assert [str(fresh) in note for note in notes] == [True, False]
    assert [str(older) in note for note in notes] == [False, True]
    with pytest.raises(HacoreError, match=f"(?s){fresh}.*nothing to draw"):
        plot_curves([fresh], tmp_path / "b.svg")
    assert not (tmp_path / "b.svg").exists()


def test_a_picture_of_another_kind_is_refused(run, tmp_path):
    with pytest.raises(HacoreError, match=r"a\.bmp.*\.svg"):
        plot_curves([run], tmp_path / "a.bmp")


def test_the_command_draws_a_folder_of_runs(run, drawn, tmp_path):
    result = CliRunner().invoke(plot, [str(run.parent), "--curves", "--output", str(tmp_path / "a.png")])
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path / 'a.png'}" in result.output
    assert len(drawn[0].axes[0].get_lines()) == 1
