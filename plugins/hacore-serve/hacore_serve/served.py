"""A run as the page shows it: its name, its accuracy, and the option that a slider changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from hacore_ask.asking import Reply, ask
from PIL import Image

from hacore.errors import HacoreError, RunError
from hacore.plugin import live_options
from hacore.runs import Result
from hacore.runs.trained import Trained
from hacore.spec import unstructure_config
from hacore_serve.limits import Refused


@attrs.frozen(kw_only=True)
class Slider:
    """An option of a selector that can be changed without training, as ``k`` or ``threshold``.

    value: as trained. whole: whether it is an integer; else the slider is logarithmic. clears: options that
    exclude it.
    """

    option: str
    low: float
    high: float
    value: float
    whole: bool
    clears: tuple[str, ...] = ()

    def options(self, value: float) -> dict[str, Any]:
        """As ``Trained.ask`` takes them. Raises Refused (422) outside of the slider's range."""
        if not self.low <= value <= self.high or (self.whole and value != int(value)):
            kind = "an integer" if self.whole else "a number"
            raise Refused(
                422, f"value: found {value:g}; {self.option} is {kind} from {self.low:g} to {self.high:g}"
            )
        return {**dict.fromkeys(self.clears), self.option: int(value) if self.whole else value}


@attrs.frozen(kw_only=True, eq=False)
class Served:
    """A trained model, ready to be asked by many at once."""

    trained: Trained
    name: str
    grid: tuple[int, int]
    slider: Slider | None

    def ask(self, picture: Image.Image, question: str, value: float | None, top: int) -> Reply:
        """value: of the slider, None as trained. Raises Refused, and HacoreError for a bad question."""
        options = None
        if value is not None:
            if self.slider is None:
                raise Refused(422, f"value: {self.name} has no option to change")
            options = self.slider.options(value)
        return ask(self.trained, picture, question, top=top, selector=options)

    def as_dict(self) -> dict[str, Any]:
        """What the page shows of it; no path of this machine."""
        selector, result = self.trained.spec.selector, _result(self.trained)
        defaults = unstructure_config(type(selector.options)())
        values = unstructure_config(selector.options)
        options = ", ".join(f"{key} = {value}" for key, value in values.items() if defaults.get(key) != value)
        return {
            "name": self.name,
            "selector": f"{selector.use} ({options})" if options else selector.use,
            "aggregator": self.trained.spec.aggregator.use,
            "dataset": self.trained.spec.data.use,
            "accuracy": result.accuracy if result else None,
            "split": result.split if result else None,
            "grid": list(self.grid),
            "slider": None
            if self.slider is None
            else attrs.asdict(self.slider, filter=attrs.filters.exclude("clears")),
        }


def serve_runs(runs: Sequence[Trained]) -> tuple[Served, ...]:
    """The runs with different names. Each is asked once, which tells its grid and how many cells it keeps."""
    names = Counter(trained.spec.name for trained in runs)
    models = []
    for trained in runs:
        name = trained.spec.name
        if names[name] > 1:
            name = f"{name}, {trained.folder.path.name}"
        channels, height, width = trained.summary.image_size
        reply = ask(trained, np.full((height, width, channels), 127, np.uint8), "what?")
        slider = _slider(trained, reply)
        models.append(Served(trained=trained, name=name, grid=reply.grid, slider=slider))
    return tuple(models)


def _slider(trained: Trained, reply: Reply) -> Slider | None:
    """For the first live option of its selector that a slider can show."""
    options = trained.spec.selector.options
    cells = reply.grid[0] * reply.grid[1]
    fields = attrs.fields_dict(attrs.resolve_types(type(options)))
    live = [fields[name] for name in live_options(type(options))]
    for field in live:
        value = getattr(options, field.name)
        # Options whose default is None exclude each other, as k and fraction do.
        clears = tuple(
            other.name for other in live if other is not field and field.default is other.default is None
        )
        if field.type in (int, int | None):
            kept = len(reply.kept) if value is None else value
            low, high = min(1, kept), max(cells, kept)
            slider = Slider(option=field.name, low=low, high=high, value=kept, whole=True, clears=clears)
        elif field.type in (float, float | None) and value is not None and value > 0:
            most = field.metadata["max"]
            low, high = min(0.01, value), max(float(cells), value) if most is None else float(most)
            slider = Slider(option=field.name, low=low, high=high, value=value, whole=False, clears=clears)
        else:
            continue
        if _allowed(trained, slider):
            return slider
    return None


def _allowed(trained: Trained, slider: Slider) -> bool:
    """Whether the selector takes both ends of a slider."""
    try:
        for end in (slider.low, slider.high):
            trained.with_selector(**slider.options(end))
    except HacoreError:
        return False
    return True


def _result(trained: Trained) -> Result | None:
    """None where the training is not finished."""
    try:
        return trained.folder.result()
    except RunError:
        return None
