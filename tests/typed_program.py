"""Uses the public API as its users do; ``make lint`` checks its types, and nothing runs it."""

from __future__ import annotations

from pathlib import Path

import attrs
import torch
from hacore_sweep import run_sweep

import hacore
from hacore.data_tools import Outcome, Tell
from hacore.interfaces import Cells, Question, Selection, Selector
from hacore.observers import RunObserver
from hacore.plugin import Component, hookimpl, option
from hacore.runs import Result, RunFolder
from hacore.selection import gather_cells, l2_presence, strongest_first
from hacore.testing import contract

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    k: int = option(4, "cells to keep", min=1, live=True)


class Strongest(Selector[Config]):
    def forward(self, cells: Cells, question: Question) -> Selection:
        presence_QN = l2_presence(cells.features)
        index_QK = strongest_first(presence_QN)[:, : self.config.k]
        return Selection(
            features_QKC=gather_cells(cells.features, index_QK),
            index_QK=index_QK,
            presence_QN=presence_QN,
            positions_N2=cells.positions,
            grid=cells.grid,
        )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="selector",
            name="strongest",
            target="program:Strongest",
            config=Config,
            summary="keeps the strongest",
        )
    ]


class Watch(RunObserver):
    def end(self, result: Result, trained: hacore.Trained) -> None:
        print(result.accuracy, result.by_type["shape"].accuracy, trained.step)


TestContract = contract("selector", "l2-topk", k=5)


def tool(config: Config, tell: Tell) -> Outcome:
    tell.message("counting")
    tell.progress("images", 1, 2)
    return Outcome(summary={"k": config.k})


def main() -> None:
    spec = hacore.load_spec("experiments/han_rn.toml", ["train.epochs=1"])
    folder, result = hacore.run(spec, runs=Path("runs"))
    if result is not None:
        accuracy: float | None = result.accuracy
        print(accuracy, result["accuracy"], result.training and result.training.seconds)
    trained = hacore.load(folder)
    reply = trained.ask("scene.png", "what color is the cube?")
    answer: str = reply.answer
    print(answer, [cell.row for cell in reply.kept])
    again = hacore.evaluate_run(RunFolder.open(folder.path), split="val")
    print(again.accuracy)
    chosen = hacore.evaluate_run(trained.with_selector(use="l2-topk", k=5))
    print(chosen.kept, chosen.multiply_adds, chosen.predictions)
    dataset = hacore.open_dataset(spec.data)
    model = hacore.compose(spec, dataset.sizes())
    scores = hacore.evaluate(model, dataset, "val", device=torch.device("cpu"))
    print(scores.by_type["shape"].accuracy)
    sweep = hacore.load_sweep("experiments/tables/table1.toml")
    sweep_folder, outcomes = run_sweep(sweep, jobs=1)
    print(sweep_folder.path, [outcome.status for outcome in outcomes])
    runs = hacore.read_runs([sweep_folder.path])
    print(hacore.write_table(hacore.tabulate(runs), "markdown"))
    hacore.export(folder, format="onnx")
    hacore.make_features(spec, "features/store")


if __name__ == "__main__":
    main()
