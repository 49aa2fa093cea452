"""Who watches runs: what ``hacore run --log NAME`` asks of a plugin. Imports no torch.

A plugin declares a class of ``RunObserver`` as a component of the kind ``observer``. It is told what
happens and gives nothing back: a run is the same with it and without. It lives in the process that leads
the training.

What a method was told must be kept when it returns, as the process may be killed at any moment. When a
method raises, the observer is named once in a warning, closed and told no more, and the training goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt

from hacore.errors import HacoreError
from hacore.registry import Installed, registry
from hacore.spec import Spec, dump_spec, spec_table, structure_config

if TYPE_CHECKING:
    from PIL.Image import Image

    from hacore.asking import Seen
    from hacore.trained import Trained

Named = Collection[str] | Mapping[str, Mapping[str, Any]]
"""Names of observers, or their options by name."""

_COLOURS = {"right": "#1a7f37", "partly right": "#b35900", "wrong": "#c0392b"}


@attrs.frozen(kw_only=True)
class Observed:
    """The run that is observed.

    folder: of the run. spec: resolved. step: 0, or the steps done by the checkpoint that the run goes on
    from: what an observer was told of later steps will be told again. parameters: trained ones of the model.
    """

    folder: Path
    spec: Spec
    step: int
    parameters: int

    @property
    def text(self) -> str:
        """The spec as TOML."""
        return dump_spec(self.spec)

    @property
    def settings(self) -> dict[str, bool | int | float | str]:
        """Every option of the spec by its dotted key, as ``selector.k``; lists as text, without name."""
        return {key: value for key, value in _flat(spec_table(self.spec)).items() if key != "name"}


@attrs.frozen(kw_only=True, eq=False)
class Example:
    """A question of the evaluated split, and what the model makes of it now.

    image: (3, H, W) uint8. answer: the right one, None where it is none of the data set's answers. score: of
    the likeliest answer, in [0, 1].
    """

    image: npt.NDArray[np.uint8]
    question: str
    type: str
    answer: str | None
    score: float
    seen: Seen

    @property
    def state(self) -> str:
        """``right``, ``partly right`` or ``wrong``."""
        from hacore.report._predictions import state_of

        return state_of(self.score)

    def draw(self, side: int = 320) -> Image:
        """The image, its longer side of ``side`` pixels, kept cells bright and the rest darkened, with a
        caption. Needs Pillow.
        """
        from hacore.pictures import draw_kept, open_picture, with_caption

        picture = open_picture(self.image)
        scale = side / max(picture.size)
        width, height = (max(1, round(scale * length)) for length in picture.size)
        best, state = self.seen.answers[0], self.state
        said = f"{best.answer} ({best.probability:.0%}), {state}"
        if state != "right" and self.answer is not None:
            said += f": {self.answer}"
        kept = f"{len(self.seen.kept)} of {self.seen.presence.size} cells kept"
        lines = [(self.question, "black"), (said, _COLOURS[state]), (kept, "#555555")]
        return with_caption(draw_kept(picture.resize((width, height)), self.seen.brightness), lines)


@attrs.frozen(kw_only=True, eq=False)
class Look:
    """What the model makes of a sample of the evaluated split, the same questions at every evaluation.

    presence_QN: float32, how strongly each cell presents itself. kept_Q: int64, cells kept. examples: the
    first few of these questions, of different types.
    """

    presence_QN: npt.NDArray[np.float32]
    kept_Q: npt.NDArray[np.int64]
    examples: Sequence[Example]


class RunObserver:
    """Is told of one run, from its start, or its going on, to its end. Does nothing by itself."""

    def __init__(self, config: Any, observed: Observed) -> None:
        """The run begins, or goes on."""
        self.config = config
        self.observed = observed

    def train(self, step: int, values: Mapping[str, float]) -> None:
        """Means over the last steps: what metrics.jsonl has, and ``questions_per_second`` and
        ``gradient_norm``, that of the last step before it was clipped.
        """

    def evaluation(self, step: int, values: Mapping[str, Any], look: Callable[[], Look]) -> None:
        """An evaluation: what metrics.jsonl has of it, ``split`` and ``by_type`` among it.

        look: gives a look at the model; it is taken when it is first asked for, and costs some time.
        """

    def end(self, result: Mapping[str, Any], trained: Trained) -> None:
        """The run is finished, with this content of result.json and this model, its data open."""

    def fail(self, error: str) -> None:
        """The run has stopped with this error, a line. It may go on later, from its last checkpoint."""

    def close(self) -> None:
        """The last call, whatever happened; after neither end nor failure: the run was interrupted."""


@attrs.frozen(kw_only=True)
class Chosen:
    """An observer that a run is to have, with its config."""

    installed: Installed
    config: Any

    @property
    def name(self) -> str:
        """As in ``--log``."""
        return self.installed.name


def choose(named: Named, without: Collection[str] = ()) -> list[Chosen]:
    """The observers of these names, each once, and those that runs have by default.

    without: names that are left out. Raises HacoreError with every problem of names and options.
    """
    options = named if isinstance(named, Mapping) else {}
    usual = [it.name for it in registry().of("observer") if it.declared.default]
    chosen, problems = [], []
    for name in dict.fromkeys([*_names(named), *usual]):
        if name in without:
            continue
        try:
            installed = registry().find("observer", name)
            config = structure_config(installed.declared.config, dict(options.get(name, {})), name)
            chosen.append(Chosen(installed=installed, config=config))
        except HacoreError as error:
            problems.append(str(error))
    if problems:
        raise HacoreError("\n".join(problems))
    return chosen


def observer_flags(named: Named, without: Collection[str] = ()) -> list[str]:
    """The same choice for the command line of ``hacore run``."""
    options = named if isinstance(named, Mapping) else {}
    flags = []
    for name in dict.fromkeys(_names(named)):
        flags += ["--log", name]
        for key, value in options.get(name, {}).items():
            # JSON's numbers, texts, lists, true and false are TOML's.
            flags += ["--log-with", f"{name}.{key}={json.dumps(value)}"]
    return [*flags, *(word for name in without for word in ("--without", name))]


def _names(named: Named) -> list[str]:
    return [named] if isinstance(named, str) else [*named]


def _flat(table: Mapping[str, Any], above: str = "") -> dict[str, bool | int | float | str]:
    flat: dict[str, bool | int | float | str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[above + key] = json.dumps(value) if isinstance(value, list) else value
    return flat
