"""A run as TensorBoard's event files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from torch.utils.tensorboard import SummaryWriter

from hacore.machine.names import distinct
from hacore.measure.look import Look
from hacore.observers import Observed, RunObserver
from hacore_tensorboard import Config

if TYPE_CHECKING:
    from hacore.runs import Result
    from hacore.runs.trained import Trained

_END = ".end"
_TRAINED = ("epoch", "loss", "accuracy", "kept", "lr", "questions_per_second", "gradient_norm")
_MEASURED = ("loss", "accuracy", "kept", "parameters", "multiply_adds")


class TensorBoardLogger(RunObserver):
    """Writes to RUN/tensorboard.

    A resumed run writes another file, which takes back the steps after its checkpoint. How a run ended is in
    a file of its own, ``*.end``: TensorBoard believes the first end that it reads, so resuming removes the
    end of a failure.
    """

    def __init__(self, config: Config, observed: Observed) -> None:
        super().__init__(config, observed)
        self._folder = observed.folder / "tensorboard"
        self._step = observed.step
        for file in self._folder.glob(f"*{_END}" if observed.step else "*tfevents*"):
            file.unlink()
        resumed = any(self._folder.glob("*tfevents*"))
        self._writer = SummaryWriter(str(self._folder), purge_step=observed.step + 1 if resumed else None)
        if not resumed:
            text = f"{observed.parameters:,} trained parameters\n\n```toml\n{observed.text}```"
            self._writer.add_text("spec", text, 0)
            _add_summary(self._writer, _options(observed.settings))
        self._writer.flush()

    def train(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        for key in _TRAINED:
            self._writer.add_scalar(f"train/{key}", values[key], step)
        self._writer.flush()

    def evaluation(self, step: int, values: Mapping[str, Any], look: Callable[[], Look]) -> None:
        self._step = step
        split = values["split"]
        _add_scores(self._writer, split, values, step)
        if self.config.histograms:
            edges = np.arange(look().presence_QN.shape[1] + 2)  # a bar for each number of cells
            self._writer.add_histogram(f"{split}_cells/presence", look().presence_QN, step)
            self._writer.add_histogram(f"{split}_cells/kept", look().kept_Q, step, bins=edges)
        for number, example in enumerate(look().examples[: self.config.pictures], 1):
            tag = f"{split}_pictures/{number:02}_{_clean(example.type)}"
            self._writer.add_image(tag, np.asarray(example.draw()), step, dataformats="HWC")
        self._writer.flush()

    def end(self, result: Result, trained: Trained) -> None:
        with self._ending(api_pb2.STATUS_SUCCESS) as writer:
            _add_scores(writer, result.split, result, self._step)
            if result.training is not None:
                writer.add_scalar(f"{result.split}/training_seconds", result.training.seconds, self._step)
            writer.add_text("result", _table(result), self._step)

    def fail(self, error: str) -> None:
        with self._ending(api_pb2.STATUS_FAILURE) as writer:
            writer.add_text("failure", error, self._step)

    def close(self) -> None:
        self._writer.close()

    def _ending(self, status: Any) -> SummaryWriter:
        writer = SummaryWriter(str(self._folder), filename_suffix=_END)
        ended = HParamsPluginData(session_end_info=SessionEndInfo(status=status))
        _add_summary(writer, _hparams(metadata.SESSION_END_INFO_TAG, ended))
        return writer


def _add_summary(writer: SummaryWriter, summary: Summary) -> None:
    file_writer: Any = writer.file_writer  # which torch declares as None
    file_writer.add_summary(summary)


def _add_scores(writer: SummaryWriter, split: str, values: Mapping[str, Any], step: int) -> None:
    """What is known of a split; where its answers are not public, that is little."""
    for key in _MEASURED:
        if values.get(key) is not None:
            writer.add_scalar(f"{split}/{key}", values[key], step)
    for kind in ("by_type", "by_group"):
        tags = distinct(values[kind], _clean)
        for name, part in values[kind].items():
            writer.add_scalar(f"{split}_{kind}/{tags[name]}", part["accuracy"], step)


# torch's add_hparams opens a run of its own, turns true and false into numbers, and lets TensorBoard show the
# options of the first run only; TensorBoard's own function needs TensorFlow.
def _options(settings: Mapping[str, bool | int | float | str]) -> Summary:
    """The options of a run, for HParams."""
    started = SessionStartInfo()
    for key, value in settings.items():
        kind = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
        setattr(started.hparams[key], f"{kind}_value", value)
    return _hparams(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=started))


def _hparams(tag: str, data: HParamsPluginData) -> Summary:
    described = metadata.create_summary_metadata(data)
    return Summary(value=[Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)])


def _clean(name: str) -> str:
    """As part of a tag, in which ``/`` would begin another part."""
    return re.sub(r"[^-\w.]", "_", name)


def _table(result: Result) -> str:
    """The accuracies beside their baselines, in Markdown."""

    def percent(share: float | None) -> str:
        return "" if share is None else f"{100 * share:.1f}"

    names = [name.replace("_", " ") for name in result.baselines]
    head = [f"accuracy (%) on {result.split}", "questions", "model", *names]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    baselines = result.baselines.values()
    for parts, shares in (
        (result.by_type, [baseline.by_type for baseline in baselines]),
        (result.by_group, [baseline.by_group for baseline in baselines]),
    ):
        for name, part in parts.items():
            others = [percent(by_name.get(name)) for by_name in shares]
            rows.append([name, f"{part.questions:,}", percent(part.accuracy), *others])
    others = [percent(baseline.accuracy) for baseline in baselines]
    rows.append(["all", f"{result.questions:,}", percent(result.accuracy), *others])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
