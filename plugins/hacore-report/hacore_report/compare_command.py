"""``hacore compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hacore.cli.tables import json_option, percent, print_json, print_table
from hacore.machine.files import write_whole

if TYPE_CHECKING:
    from hacore_report._compare import Comparison, Part
    from hacore_report._statistics import Interval


class _SeveralAgainst(click.Command):
    """Takes ``--against A B C``: all that follows, up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words: list[str] = []
        against = False
        for place, word in enumerate(args):
            if word == "--":
                words += args[place:]
                break
            if word.startswith("-"):
                against = word.partition("=")[0] == "--against"
            elif against and words[-1] != "--against":
                words.append("--against")
            words.append(word)
        return super().parse_args(ctx, words)


@click.command(cls=_SeveralAgainst, no_args_is_help=True)
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option(
    "--against",
    multiple=True,
    required=True,
    metavar="RUNS...",
    type=click.Path(),
    help="The runs of the other experiment: all that follows, up to the next option.",
)
@click.option("--split", help="Compare on predictions of this split; default: the split of result.json.")
@click.option(
    "--margin",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="The smallest difference of accuracy that matters, as in 0.01 for one point.",
)
@click.option(
    "--resamples",
    type=click.IntRange(100),
    default=10_000,
    show_default=True,
    help="How often images are drawn for the interval, and signs for p.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of these draws.")
@click.option("--page", metavar="FILE", help="Also write it as a page, one HTML file.")
@json_option
def compare(
    runs: tuple[str, ...],
    against: tuple[str, ...],
    split: str | None,
    margin: float,
    resamples: int,
    seed: int,
    page: str | None,
    as_json: bool,
) -> None:
    """Say whether an experiment is better than another, with an interval and a p-value.

    RUNS are the runs of one experiment, one for each seed: run folders, a sweep folder or a folder of runs.
    The runs of the other experiment follow --against. Both need predictions on the same questions.
    The difference is the accuracy of RUNS minus that of the others. Its 95% interval is over images and,
    with several seeds, over seeds too. Notes go to standard error.

    \b
    Examples:
      hacore compare runs/han_rn --against runs/han_sum
      hacore compare runs/han_rn/2026* --against runs/san/2026* --margin 0.01
      hacore compare runs/han_rn --against runs/han_sum --page difference.html
    """
    from hacore_report import compare as compare_runs

    comparison = compare_runs(runs, against, split=split, margin=margin, resamples=resamples, seed=seed)
    if page is not None:
        _write_page(comparison, page)
    if as_json:
        print_json(_json(comparison))
    else:
        _print(comparison)
    for note in comparison.notes:
        click.echo(f"note: {note}", err=True)


_CORRECTED = "Differences in points; p of types, and of groups, corrected for their number (Holm)."


def _print(comparison: Comparison) -> None:
    print_table(*table_of(comparison), minor=("images",))
    click.echo(f"\n{_CORRECTED}")
    click.echo(sentence(comparison))


def _write_page(comparison: Comparison, file: str) -> None:
    from hacore_report._rendering import render

    title, head, rows = table_of(comparison)
    page = render(
        "table.html.jinja",
        title=" against ".join(comparison.names),
        lead=[sentence(comparison)[:-1], title[:1].upper() + title[1:]],
        sections={},
        head=head,
        rows=rows,
        keys=1,
        marked=(),
        notes=[_CORRECTED[:-1], *comparison.notes],
    )
    write_whole(Path(file), page.encode(), option="--page")


def table_of(comparison: Comparison) -> tuple[str, list[str], list[list[str]]]:
    """Its title, the heads of its columns and its rows."""
    title = f"accuracy (%) on {comparison.split} of {comparison.data['dataset']}"
    parts = {"all": comparison.whole, **comparison.by_group, **comparison.by_type}
    columns = ["questions", "number", "images", *comparison.names, "difference", "95% interval", "p"]
    return title, columns, [_row(name, part) for name, part in parts.items()]


def _row(name: str, part: Part) -> list[str]:
    """A part of a comparison as people read it."""
    gain = part.difference
    numbers = [f"{gain.questions:,}", f"{gain.images:,}", *map(percent, part.accuracies)]
    return [name, *numbers, f"{100 * gain.value:+.2f}", _range(gain.interval), _p(part.p_holm)]


def sentence(comparison: Comparison) -> str:
    """What came out, in a line."""
    gain, p = comparison.whole.difference, _p(comparison.whole.p)
    p = f"p < {p[1:]}" if p.startswith("<") else f"p = {p}"
    accurate = "as accurate as"
    if gain.value:
        more = "more" if gain.value > 0 else "less"
        accurate = f"{abs(100 * gain.value):.2f} points {more} accurate than"
    seeds = " against ".join(dict.fromkeys(str(len(each)) for each in comparison.seeds))
    over = f"{gain.images:,} images" + (f" and {seeds} seeds" if gain.over_seeds else "")
    return (
        f"{comparison.names[0]} is {accurate} {comparison.names[1]} "
        f"(95% interval {_range(gain.interval)} over {over}, {p}): "
        f"{_conclusion(comparison)}."
    )


def _conclusion(comparison: Comparison) -> str:
    """The verdict in words."""
    from hacore_report._compare import verdict_of

    points = 100 * comparison.margin
    margin = f"the margin of {points:g} point{'' if points == 1 else 's'}"
    sign = verdict_of(comparison.whole.difference.interval, 0.0)
    if not comparison.margin:
        return {"undecided": "which is better is undecided", "equivalent": "no difference"}.get(sign, sign)
    if comparison.verdict == "equivalent":
        return f"equivalent within {margin}"
    if comparison.verdict != "undecided":
        return f"{comparison.verdict} by more than {margin}"
    undecided = f"whether by more than {margin} is undecided"
    return undecided if sign == "undecided" else f"{sign}, but {undecided}"


def _range(interval: Interval | None) -> str:
    return f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f}" if interval else "-"


def _p(value: float) -> str:
    return "<0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


def _json(comparison: Comparison) -> dict[str, Any]:
    """As JSON: shares and differences in [0, 1]."""
    from hacore_report._statistics import LEVEL

    whole = comparison.whole.difference
    return {
        **_part(comparison.whole),
        "margin": comparison.margin,
        "verdict": comparison.verdict,
        "words": sentence(comparison),
        "by_type": {name: _part(part) for name, part in comparison.by_type.items()},
        "by_group": {name: _part(part) for name, part in comparison.by_group.items()},
        "seeds": list(comparison.pairs),
        "runs": _side(comparison, 0),
        "against": _side(comparison, 1),
        "split": comparison.split,
        "data": dict(comparison.data),
        "over_images": _bounds(whole.over_images),
        "over_seeds": _bounds(whole.over_seeds) if whole.over_seeds else None,
        "method": {
            "level": LEVEL,
            "interval": "bootstrap over images"
            + (", and Student's t over seeds" if whole.over_seeds else ""),
            "p": "signs of the differences of images"
            + (", moved by Student's t over seeds" if whole.over_seeds else ""),
            "p_holm": "p, corrected for the number of types or of groups",
            "resamples": comparison.resamples,
            "seed": comparison.seed,
        },
        "notes": list(comparison.notes),
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "difference": part.difference.value,
        **_bounds(part.difference.interval),
        "p": part.p,
        "p_holm": part.p_holm,
        "accuracy": dict(zip(("runs", "against"), part.accuracies, strict=True)),
        "images": part.difference.images,
        "questions": part.difference.questions,
    }


def _bounds(interval: Interval | None) -> dict[str, float | None]:
    return {"low": interval.low if interval else None, "high": interval.high if interval else None}


def _side(comparison: Comparison, place: int) -> dict[str, Any]:
    return {
        "name": comparison.names[place],
        "seeds": list(comparison.seeds[place]),
        "folders": list(comparison.folders[place]),
    }
