"""Sums kept on the device, read once in a while; nothing here waits for the device but ``read``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hacore.data import Batch, Dataset
from hacore.machine.processes import sum_over_processes
from hacore.measure.scores import Part, Scores
from hacore.model.network import Output


class Meter:
    """Accumulates loss, score per question type and share of kept cells."""

    def __init__(self, dataset: Dataset[Any], device: torch.device) -> None:
        self._dataset = dataset
        self._types = len(dataset.question_types)
        # float64: counts of a whole split must stay exact; mps has none, there they are up to 2^24.
        # Columns: score, questions, kept, loss.
        wide = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(self._types, 4, dtype=wide, device=device)

    @torch.no_grad()
    def add(self, output: Output, loss_sum: Tensor, batch: Batch) -> None:
        """Add a batch; ``loss_sum`` is summed over its questions."""
        score_Q = self._dataset.score(output.logits_QA, batch)
        selection = output.selection
        kept_Q = selection.counts_Q / selection.presence_QN.shape[1]
        rows = torch.stack([score_Q, torch.ones_like(score_Q), kept_Q], 1).to(self.sums.dtype)
        self.sums[:, :3].index_add_(0, batch.type_Q, rows)
        self.sums[0, 3] += loss_sum.detach().to(self.sums.dtype)

    def read(self) -> Scores:
        """The means over all processes; waits for the device."""
        sums = sum_over_processes(self.sums.clone()).cpu()
        names = self._dataset.question_types
        score, count = sums[:, 0], sums[:, 1]

        def part(types: list[int]) -> Part:
            asked = float(count[types].sum())
            return Part(accuracy=float(score[types].sum()) / asked, questions=int(asked))

        index = {name: i for i, name in enumerate(names)}
        groups = {name: [index[t] for t in types] for name, types in self._dataset.groups.items()}
        total = float(count.sum())
        return Scores(
            questions=int(total),
            loss=float(sums[:, 3].sum()) / max(total, 1),
            accuracy=float(score.sum()) / max(total, 1),
            kept=round(float(sums[:, 2].sum()) / max(total, 1), 7),  # the shares of questions are float32
            by_type={name: part([i]) for name, i in index.items() if count[i] > 0},
            by_group={name: part(types) for name, types in groups.items() if count[types].sum() > 0},
        )

    def reset(self) -> None:
        """Start again from nothing."""
        self.sums.zero_()
