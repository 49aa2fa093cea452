"""Pictures of runs: the right points, readable in grey, the same file for the same runs."""

import xml.etree.ElementTree as ET

import pytest
from hacore_report import plot, read_runs

from hacore.errors import HacoreError


@pytest.fixture
def runs(write_run):
    return read_runs(
        write_run(
            f"selector.k={k}",
            f"aggregator.use={use}",
            seed=seed,
            kept=k / 100,
            accuracy=0.4 + k / 100 + seed / 100,
            multiply_adds=k * k * 1000,
            training__seconds=100.0 + k,
        )
        for k in (2, 10, 50)
        for use in ("rn", "sum-pool")
        for seed in (0, 1)
    )


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig

    def keep(self, *arguments, **named):
        figures.append(self)
        return save(self, *arguments, **named)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def test_points_are_means_over_seeds_in_every_panel(runs, drawn, tmp_path):
    notes = plot(runs, tmp_path / "a.svg")
    assert notes == ("points of a line differ in selector.k",)
    (figure,) = drawn
    accuracy, time, cost = figure.axes
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "accuracy (%)",
        "training (s)",
        "multiply-adds ($10^6$)",
    ]
    assert {ax.get_xlabel() for ax in figure.axes} == {"cells kept (%)"}
    lines = [container.lines[0] for container in accuracy.containers]
    assert [container.get_label() for container in accuracy.containers] == ["rn", "sum-pool"]
    assert lines[0].get_xdata() == pytest.approx([2, 10, 50])
    assert lines[0].get_ydata() == pytest.approx([42.5, 50.5, 90.5])
    assert time.containers[0].lines[0].get_ydata() == pytest.approx([102, 110, 150])
    assert cost.containers[0].lines[0].get_ydata() == pytest.approx([0.004, 0.1, 2.5])
    assert (accuracy.get_xscale(), time.get_yscale(), cost.get_yscale()) == ("log", "linear", "log")
    # One deviation to each side.
    heights = {round(float(y), 6) for y in accuracy.collections[0].get_paths()[0].vertices[:, 1]}
    deviation = 1 / 2**0.5
    assert heights == {round(mean + sign * deviation, 6) for mean in (42.5, 50.5, 90.5) for sign in (-1, 1)}


def test_series_differ_in_more_than_colour(write_run, drawn, tmp_path):
    names = ["rn", "sum-pool", "non-local"]
    selectors = ["l2-topk", "all-cells"]
    paths = [
        write_run(f'selector={{use="{selector}"}}', f"aggregator.use={name}", "train.lr=0.1", kept=share)
        for name in names
        for selector in selectors
        for share in (0.1,)
    ]
    plot(read_runs(paths), tmp_path / "a.png")
    containers = drawn[0].axes[0].containers
    assert len(containers) == 6
    lines = [container.lines[0] for container in containers]
    assert len({(line.get_marker(), line.get_markerfacecolor() == "white") for line in lines}) == 6
    assert len({line.get_color() for line in lines}) == 6


def test_a_line_has_a_band_and_a_point_has_error_bars(write_run, drawn, tmp_path):
    paths = [
        write_run(f"selector.k={k}", seed=seed, kept=k / 100, accuracy=0.5 + seed / 10)
        for k in (5, 10)
        for seed in (0, 1)
    ]
    paths += [
        write_run("selector={ use = 'all-cells' }", seed=seed, kept=1.0, accuracy=0.6 + seed / 10)
        for seed in (0, 1)
    ]
    plot(read_runs(paths), tmp_path / "a.svg", only_value=True)
    (ax,) = drawn[0].axes
    assert ax.get_ylabel() == "accuracy (%)"
    (band,) = ax.collections[:1]
    heights = band.get_paths()[0].vertices[:, 1]
    deviation = 10 / 2**0.5
    assert {round(height, 6) for height in heights} == {round(55 - deviation, 6), round(55 + deviation, 6)}
    bars = {container.get_label(): container.has_yerr for container in ax.containers}
    assert bars == {"l2-topk": False, "all-cells": True}


def test_a_line_says_what_it_is_not_and_leaves_out_what_it_has_not(write_run, drawn, tmp_path):
    paths = [
        write_run("selector.k=5", kept=0.05),
        write_run("selector={ use = 'oracle-k', k = 5 }", kept=0.05, oracle=True),
        write_run("selector={ use = 'diverse-k', k = 5 }", kept=0.05),
    ]
    plot(read_runs(paths), tmp_path / "a.svg", series=["selector.use", "selector.question"])
    names = {container.get_label() for container in drawn[0].axes[0].containers}
    assert names == {"l2-topk", "oracle-k (oracle)", "diverse-k, false"}


def test_dollars_are_no_formula(write_run, drawn, tmp_path):
    runs = read_runs(write_run(f"data.root=/data/${folder}$_^{{") for folder in "ab")
    plot(runs, tmp_path / "a.svg", series=["data.root"], title=r"$\frac{ of $HOME")
    (figure,) = drawn
    (legend,) = figure.legends
    shown = [text.get_text().replace(r"\$", "$") for text in [legend.get_title(), *legend.get_texts()]]
    assert shown == [r"$\frac{ of $HOME", "/data/$a$_^{", "/data/$b$_^{"]


def test_more_series_than_colours_can_be_told_apart(write_run, drawn, tmp_path):
    paths = [
        write_run(f"selector.k={k}", f"train.batch_images={size}", kept=k / 100)
        for size in range(1, 20)
        for k in (5, 10)
    ]
    plot(read_runs(paths), tmp_path / "a.svg", series=["train.batch_images"], only_value=True)
    looks = set()
    for container in drawn[0].axes[0].containers:
        line = container.lines[0]
        dashes = str(line._unscaled_dash_pattern)
        looks.add((line.get_color(), line.get_marker(), dashes))
    assert len(looks) == 19


@pytest.mark.parametrize(("name", "start"), [("a.svg", b"<?xml"), ("a.PNG", b"\x89PNG"), ("a.pdf", b"%PDF")])
def test_the_name_says_the_format(runs, tmp_path, name, start):
    plot(runs, tmp_path / name, series=["aggregator.use"], value="relational", title="A title")
    first = (tmp_path / name).read_bytes()
    assert first.startswith(start)
    plot(runs, tmp_path / name, series=["aggregator.use"], value="relational", title="A title")
    assert (tmp_path / name).read_bytes() == first
    if name == "a.svg":
        assert ET.fromstring(first).tag.endswith("svg")


def test_a_single_run_without_multiply_adds_has_two_panels(write_run, drawn, tmp_path):
    path = write_run(multiply_adds=None)
    assert plot(read_runs([path]), tmp_path / "a.png", time="training.questions_per_second") == ()
    assert [ax.get_ylabel() for ax in drawn[0].axes] == ["accuracy (%)", "questions/s in training"]


def test_what_else_differs_is_noted(write_run, tmp_path):
    paths = [
        write_run("selector.k=4", kept=0.04),
        write_run("train.lr=0.5", "train.epochs=3", kept=0.1, training__device="another, 8 cores"),
    ]
    assert plot(read_runs(paths), tmp_path / "a.png") == (
        "points of a line differ in selector.k",
        "the runs also differ in train.epochs: 3.0, 10.0; train.lr: 0.001, 0.5; "
        "training.device: a CPU, 2 cores, another, 8 cores",
    )


def test_what_cannot_be_drawn(runs, write_run, tmp_path):
    with pytest.raises(HacoreError, match=r"no run.*'accuracy'"):
        plot(read_runs([write_run(accuracy=None, baselines={})]), tmp_path / "a.png")
    with pytest.raises(HacoreError, match=r"a\.gif: .*\.svg, \.png, \.pdf"):
        plot(runs, tmp_path / "a.gif")
    with pytest.raises(HacoreError, match=r"no run has a value 'x\.y'"):
        plot(runs, tmp_path / "a.png", series=["x.y"])
    with pytest.raises(HacoreError, match=r"none/a\.png: .*No such file or directory"):
        plot(runs, tmp_path / "none" / "a.png")
