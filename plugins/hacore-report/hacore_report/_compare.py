"""Two experiments on the same questions: which is better, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs

from hacore.errors import HacoreError
from hacore.notebooks import html_of
from hacore_report._runs import Run, label, precision_notes, precision_remark, read_runs
from hacore_report._scores import Scores, image_sums, read_scores
from hacore_report._statistics import FEW_IMAGES, RESAMPLES, Difference, Interval, difference, holm, p_value
from hacore_report._table import experiment_names, more_than_the_seed, values_of

Verdict = Literal["better", "worse", "equivalent", "undecided"]


@attrs.frozen(kw_only=True)
class Part:
    """All questions, or those of a type or a group. accuracies: of the two experiments, in [0, 1].

    p_holm: p, corrected for the number of types or of groups.
    """

    difference: Difference
    accuracies: tuple[float, float]
    p: float
    p_holm: float


@attrs.frozen(kw_only=True)
class Comparison:
    """The accuracy of one experiment minus that of another.

    names, folders, seeds: of the two experiments; folders and seeds of all their runs. margin: the smallest
    difference that matters. notes: a line on each thing that a reader must know.
    """

    names: tuple[str, ...]
    folders: tuple[tuple[str, ...], ...]
    seeds: tuple[tuple[int, ...], ...]
    whole: Part
    by_type: Mapping[str, Part]
    by_group: Mapping[str, Part]
    margin: float
    split: str
    data: Mapping[str, str]
    resamples: int
    seed: int
    notes: tuple[str, ...]
    _repr_html_ = html_of

    @property
    def pairs(self) -> tuple[int, ...]:
        """The seeds of the pairs; none where the seeds of the experiments differ."""
        return self.seeds[0] if self.seeds[0] == self.seeds[1] else ()

    @property
    def verdict(self) -> Verdict:
        """What the interval says about the margin."""
        return verdict_of(self.whole.difference.interval, self.margin)


def compare(
    runs: Sequence[str | Path],
    against: Sequence[str | Path],
    *,
    split: str | None = None,
    margin: float = 0.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare the experiment of some runs, one for each seed, with that of others.

    runs, against: run folders, sweep folders, folders of runs. split: by default that of result.json.
    margin: in [0, 1]. Raises HacoreError when a side has several experiments, when the sides were measured
    on different data or questions, and where predictions are missing or have no scores.
    """
    notes: list[str] = []
    sides = [_experiment(*each, notes) for each in (("RUNS", runs), ("--against", against))]
    split = _shared_split(sides[0], sides[1], split)
    scores = [[read_scores(run.predictions(split)) for run in side] for side in sides]
    first = scores[0][0]
    for other in (*scores[0], *scores[1]):
        first.require_same_questions(other)
    if (first.image_Q == first.image_Q[0]).all():
        raise HacoreError(f"{first.source}: is about one image; an interval over images needs at least two")
    seeds = tuple(tuple(run.seed for run in side) for side in sides)

    def part(types: Sequence[str] | None = None) -> Part:
        return _part(scores, types, paired=seeds[0] == seeds[1], resamples=resamples, seed=seed)

    whole = part()
    groups = next((run.result.groups for side in sides for run in side if run.result.groups), {})
    by_type = _corrected({name: part([name]) for name in first.types})
    both = [*sides[0], *sides[1]]
    names = experiment_names([side[0] for side in sides], seeds=max(map(len, sides)) == 1)
    remarks = ["".join(f" ({words})" for words in precision_remark(side, both)) for side in sides]
    return Comparison(
        names=tuple(map("".join, zip(names, remarks, strict=True))),
        folders=tuple(tuple(str(run.path) for run in side) for side in sides),
        seeds=seeds,
        whole=whole,
        by_type=by_type,
        by_group=_corrected(
            {name: part(types) for name, types in groups.items() if {*types} & {*first.types}}
        ),
        margin=margin,
        split=split,
        data={key: str(sides[0][0].get(f"data.{key}")) for key in ("dataset", "fingerprint")},
        resamples=resamples,
        seed=seed,
        notes=(*notes, *precision_notes(both), *_about_seeds(*seeds), *_about_images(whole, by_type)),
    )


def verdict_of(interval: Interval | None, margin: float) -> Verdict:
    """Whether all of the interval lies above, below or within the margin; none of these: undecided."""
    if interval is None:
        return "undecided"
    if interval.low > margin:
        return "better"
    if interval.high < -margin:
        return "worse"
    return "equivalent" if -margin <= interval.low and interval.high <= margin else "undecided"


def _experiment(option: str, paths: Sequence[str | Path], notes: list[str]) -> list[Run]:
    """The runs of one side in the order of their seeds. Raises HacoreError where they differ in more."""
    finished = read_runs(paths)
    notes += [note for note in finished.notes if note not in notes]
    if keys := more_than_the_seed(finished.runs):
        differences = "; ".join(f"{key}: {values_of(key, finished.runs)}" for key in keys)
        raise HacoreError(
            f"{option}: the runs are several experiments, which differ in {differences}; give the runs of "
            "one, which may differ in their seed only"
        )
    return sorted(finished.runs, key=lambda run: run.seed)


def _shared_split(ours: Sequence[Run], theirs: Sequence[Run], split: str | None) -> str:
    """The split to compare on. Raises HacoreError where the sides have none, or other data, in common."""
    keys = {"data.fingerprint": "measure both on the same data"}
    if split is None:
        keys["split"] = "choose one with --split, after 'hacore eval RUN --split SPLIT'"
    for key, way_out in keys.items():
        values = [label(side[0].get(key)) for side in (ours, theirs)]
        if values[0] != values[1]:
            raise HacoreError(
                f"{key} is {values[0]} in {ours[0].path} and {values[1]} in {theirs[0].path}; only runs on "
                f"the same questions are compared: {way_out}"
            )
    return split or ours[0].result.split


def _part(
    scores: Sequence[Sequence[Scores]],
    types: Sequence[str] | None,
    *,
    paired: bool,
    resamples: int,
    seed: int,
) -> Part:
    (ours_SI, theirs_SI), questions_I = image_sums(scores, types)
    total = questions_I.sum()
    p = p_value(ours_SI, theirs_SI, questions_I, paired=paired, resamples=resamples, seed=seed)
    return Part(
        difference=difference(ours_SI, theirs_SI, questions_I, paired=paired, resamples=resamples, seed=seed),
        accuracies=(float(ours_SI.mean(0).sum() / total), float(theirs_SI.mean(0).sum() / total)),
        p=p,
        p_holm=p,
    )


def _corrected(parts: Mapping[str, Part]) -> dict[str, Part]:
    corrected = holm([part.p for part in parts.values()])
    return {
        name: attrs.evolve(part, p_holm=p) for (name, part), p in zip(parts.items(), corrected, strict=True)
    }


def _about_seeds(ours: tuple[int, ...], theirs: tuple[int, ...]) -> list[str]:
    seeds = f"{', '.join(map(str, ours))} and {', '.join(map(str, theirs))}"
    if 1 in (len(ours), len(theirs)):
        one = "one seed" if len(ours) == len(theirs) else f"one seed on a side ({seeds})"
        return [f"{one}: interval and p are over images only and say nothing about models of other seeds"]
    if ours != theirs:
        return [f"the seeds differ ({seeds}), so runs are not paired by seed: over seeds it is Welch's t"]
    return []


def _about_images(whole: Part, by_type: Mapping[str, Part]) -> list[str]:
    images = {name: part.difference.images for name, part in {"all": whole, **by_type}.items()}
    few = [f"{name} ({number})" for name, number in images.items() if number < FEW_IMAGES]
    if not few:
        return []
    return [f"fewer than {FEW_IMAGES} images, so that the interval may be too narrow: {', '.join(few)}"]
