"""What every component promises that is given a ``Question``: fusers, selectors and aggregators."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from torch import Tensor

from hacore.interfaces import Question, Sizes, build
from hacore_testing._checks import require_same
from hacore_testing._module import Inputs, ModuleContract, noise

GARBAGE = 1e3
LENGTHS = (5, 1, 7, 3)


def make_question(sizes: Sizes, count: int, seed: int, *, oracle: bool = False) -> Question:
    """Questions in float64; words where the sizes have channels for them, relevant cells for an oracle."""
    lengths_Q = torch.tensor(LENGTHS).repeat(count)[:count]
    inside_QT = torch.arange(int(lengths_Q.max())) < lengths_Q.unsqueeze(1)
    word_QT = noise(*inside_QT.shape, seed=seed + 40).abs().mul(100).long() % (sizes.words - 1) + 1
    words_QTC = None
    if sizes.word_channels:
        words_QTC = noise(*inside_QT.shape, sizes.word_channels, seed=seed + 20) * inside_QT.unsqueeze(2)
    return Question(
        vector_QC=noise(count, sizes.question_channels, seed=seed + 10),
        words_QTC=words_QTC,
        lengths_Q=lengths_Q,
        image_id_Q=torch.arange(count) * 3 % 5,
        relevant_QN=noise(count, sizes.cells, seed=seed + 30) > 0.5 if oracle else None,
        words_QT=word_QT * inside_QT,
    )


def pick(question: Question, rows: Tensor | slice) -> Question:
    """Some of the questions; what stands after the longest of them is cut off."""
    picked: dict[str, Any] = {
        field.name: getattr(question, field.name)[rows]
        for field in attrs.fields(Question)
        if getattr(question, field.name) is not None
    }
    for name in {"words_QTC", "words_QT"} & picked.keys():
        picked[name] = picked[name][:, : int(picked["lengths_Q"].max())]
    return Question(**picked)


class QuestionReaderContract(ModuleContract):
    """A module one of whose inputs is ``question``."""

    def test_words_after_the_last_have_no_influence(self) -> None:
        """What stands after a question's last word, and how much of it, does not count."""
        inputs = self.inputs()
        question: Question = inputs["question"]
        assert question.lengths_Q is not None
        assert question.words_QT is not None
        padded = {"words_QT": torch.nn.functional.pad(question.words_QT, (0, 3))}
        if question.words_QTC is not None:
            longer_QTC = torch.nn.functional.pad(question.words_QTC, (0, 0, 0, 3))
            after_QT = torch.arange(longer_QTC.shape[1]) >= question.lengths_Q.unsqueeze(1)
            garbage_QTC = GARBAGE * noise(*longer_QTC.shape)
            padded["words_QTC"] = torch.where(after_QT.unsqueeze(2), garbage_QTC, longer_QTC)
        actual = self._result({**inputs, "question": attrs.evolve(question, **padded)})
        self.same_result(
            actual, self._result(inputs), "what stands after a question's last word counts; mind lengths_Q"
        )

    def test_takes_questions_without_words(self) -> None:
        """Where the question encoder gives no states of words, it works, or says so when it is built."""
        sizes = attrs.evolve(self.own_sizes(), word_channels=0)
        torch.manual_seed(0)
        try:
            module = build(self.component_class(), self.config(), sizes).double().eval()
        except ValueError:
            return
        inputs = self.inputs()
        inputs["question"] = attrs.evolve(inputs["question"], words_QTC=None)
        self.check_result(module, inputs, self.run(module, inputs))

    def test_only_an_oracle_looks_at_relevant_cells(self) -> None:
        """``relevant_QN`` has no influence on a component that does not say ``oracle = True``."""
        if self.component_class().oracle:
            pytest.skip("it says that it is an oracle")
        inputs = self.inputs()
        question: Question = inputs["question"]
        questions, cells = len(question.vector_QC), self.sizes.cells
        for train in (False, True):
            expected = self._result(inputs, train=train)
            for relevant_QN in (noise(questions, cells) > 0, torch.zeros(questions, cells, dtype=torch.bool)):
                informed = {**inputs, "question": attrs.evolve(question, relevant_QN=relevant_QN)}
                require_same(
                    self._result(informed, train=train),
                    expected,
                    self.tolerance,
                    "relevant_QN, which no model can know, has influence; leave it alone, or say "
                    "oracle = True, which results then tell",
                )

    def _result(self, inputs: Inputs, *, train: bool = False) -> Any:
        """Of a new component, whose random numbers are always the same."""
        module = self.make(train=train)
        torch.manual_seed(1)
        return self.run(module, inputs)
