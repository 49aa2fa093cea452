"""Where runs are logged: what ``hacore run --log NAME`` asks of a plugin. Imports no torch.

A plugin declares a class of ``Logger`` as a ``hacore.plugin.RunLogger``. It is told what happens and gives
nothing back: a run is the same with it and without. It lives in the process that leads the training.

What a method was told must be kept when it returns, as the process may be killed at any moment. When a
method raises, the logger is named once in a warning, closed and told no more, and the training goes on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import numpy as np
import numpy.typing as npt

from hacore.errors import HacoreError
from hacore.plugin import RunLogger
from hacore.registry import Installed, registry
from hacore.spec import Spec, dump_spec, spec_table, structure_config

if TYPE_CHECKING:
    from PIL.Image import Image

    from hacore.asking import Seen

Log = Collection[str] | Mapping[str, Mapping[str, Any]]
"""Names of loggers, or their options by name."""

_COLOURS = {"right": "#1a7f37", "partly right": "#b35900", "wrong": "#c0392b"}


@attrs.frozen(kw_only=True)
class Logged:
    """The run that is logged.

    folder: of the run. spec: resolved. step: 0, or the steps done by the checkpoint that the run goes on
    from: what a logger was told of later steps will be told again. parameters: trained ones of the model.
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


class Logger(Protocol):
    """Is told of one run, from its start, or its going on, to its end. Made as ``cls(config, logged)``."""

    def train(self, step: int, values: Mapping[str, float]) -> None:
        """Means over the last steps: what metrics.jsonl has, and ``questions_per_second`` and
        ``gradient_norm``, that of the last step before it was clipped.
        """

    def evaluation(self, step: int, values: Mapping[str, Any], look: Look) -> None:
        """An evaluation: what metrics.jsonl has of it, ``split`` and ``by_type`` among it, and a look."""

    def end(self, result: Mapping[str, Any]) -> None:
        """The run is finished, with this content of result.json."""

    def fail(self, error: str) -> None:
        """The run has stopped with this error, a line. It may go on later, from its last checkpoint."""

    def close(self) -> None:
        """The last call, whatever happened; after neither end nor failure: the run was interrupted."""


@attrs.frozen(kw_only=True)
class Chosen:
    """A logger that a run is to have, with its config."""

    installed: Installed[RunLogger]
    config: Any

    @property
    def name(self) -> str:
        """As in ``--log``."""
        return self.installed.name


def choose(log: Log) -> list[Chosen]:
    """The loggers of these names, each once. Raises HacoreError with every problem of names and options."""
    options = log if isinstance(log, Mapping) else {}
    chosen, problems = [], []
    for name in dict.fromkeys([log] if isinstance(log, str) else log):
        try:
            found = registry().find("logger", name)
            config = structure_config(found.declared.config, dict(options.get(name, {})), name)
            chosen.append(Chosen(installed=found, config=config))
        except HacoreError as error:
            problems.append(str(error))
    if problems:
        raise HacoreError("\n".join(problems))
    return chosen


def log_flags(log: Log) -> list[str]:
    """The same choice for the command line of ``hacore run``."""
    options = log if isinstance(log, Mapping) else {}
    flags = []
    for name in dict.fromkeys([log] if isinstance(log, str) else log):
        flags += ["--log", name]
        for key, value in options.get(name, {}).items():
            # JSON's numbers, texts, lists, true and false are TOML's.
            flags += ["--log-with", f"{name}.{key}={json.dumps(value)}"]
    return flags


def _flat(table: Mapping[str, Any], above: str = "") -> dict[str, bool | int | float | str]:
    found: dict[str, bool | int | float | str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{key}.")
        else:
            found[above + key] = json.dumps(value) if isinstance(value, list) else value
    return found
