"""What a question encoder promises."""

from __future__ import annotations

from typing import Any

import attrs
import torch

from hacore.interfaces import Sizes
from hacore.testing._checks import require, require_close, require_tensor
from hacore.testing._module import Inputs, ModuleContract

LENGTHS = (5, 1, 7, 3, 7)


class QuestionEncoderContract(ModuleContract):
    """Words (Q, T) and lengths (Q) -> question vectors (Q, C)."""

    @classmethod
    def own_sizes(cls) -> Sizes:
        return attrs.evolve(cls.sizes, grid=(0, 0), cell_channels=0, question_channels=0)

    @classmethod
    def inputs(cls, seed: int = 0) -> Inputs:
        generator = torch.Generator().manual_seed(seed)
        lengths_Q = torch.tensor(LENGTHS)
        words_QT = torch.randint(1, cls.sizes.words, (len(LENGTHS), max(LENGTHS)), generator=generator)
        words_QT[0, 0] = cls.sizes.words - 1
        inside = torch.arange(max(LENGTHS)) < lengths_Q.unsqueeze(1)
        return {"words_QT": words_QT * inside, "lengths_Q": lengths_Q}

    @classmethod
    def check_result(cls, module: Any, inputs: Inputs, result: Any) -> None:
        shape = (len(inputs["lengths_Q"]), module.out_channels)
        require_tensor(result, "the result", shape, "(Q, out_channels)")

    def test_padding_has_no_influence(self) -> None:
        """More columns of padding leave the vectors as they are."""
        module, inputs = self.make(), self.inputs()
        padded = torch.nn.functional.pad(inputs["words_QT"], (0, 4))
        require_close(
            module(padded, inputs["lengths_Q"]),
            self.run(module, inputs),
            self.tolerance,
            "four more columns of padding change the question vectors; read only lengths_Q words",
        )

    def test_questions_do_not_meet(self) -> None:
        """A question alone, without padding, gives the vector it gives in a batch."""
        module, inputs = self.make(), self.inputs()
        together_QC = self.run(module, inputs)
        for question, length in enumerate(LENGTHS):
            alone = module(inputs["words_QT"][question : question + 1, :length], torch.tensor([length]))
            require_close(
                alone,
                together_QC[question : question + 1],
                self.tolerance,
                f"a question of {length} words gives another vector alone than in a batch",
            )

    def test_order_of_questions_does_not_matter(self) -> None:
        """Questions in another order give the same vectors in that order."""
        module, inputs = self.make(), self.inputs()
        order = torch.tensor([3, 0, 4, 1, 2])
        require_close(
            module(inputs["words_QT"][order], inputs["lengths_Q"][order]),
            self.run(module, inputs)[order],
            self.tolerance,
            "the vectors do not follow the order of the questions",
        )

    def test_every_word_is_read(self) -> None:
        """Each word of a question, the first and the last too, has influence on its vector."""
        module, inputs = self.make(), self.inputs()
        words_QT, before_QC = inputs["words_QT"], self.run(module, inputs)
        for place in range(max(LENGTHS)):
            changed = words_QT.clone()
            inside = place < inputs["lengths_Q"]
            # The next word of the vocabulary, after the last comes the first that is no padding.
            changed[inside, place] = words_QT[inside, place] % (self.sizes.words - 1) + 1
            moved = (module(changed, inputs["lengths_Q"]) != before_QC).any(1)
            require(
                bool(moved[inside].all()),
                f"word {place + 1} of a question has no influence on its vector; are words cut off?",
            )
