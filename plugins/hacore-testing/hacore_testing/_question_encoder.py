"""What a question encoder promises."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor

from hacore.interfaces import Question, Sizes
from hacore_testing._checks import require, require_close, require_tensor
from hacore_testing._module import Inputs, ModuleContract
from hacore_testing._question import pick

LENGTHS = (5, 1, 7, 3, 7)


class QuestionEncoderContract(ModuleContract):
    """Words (Q, T) and lengths (Q) -> ``Question``."""

    @classmethod
    def own_sizes(cls) -> Sizes:
        return attrs.evolve(cls.sizes, grid=(0, 0), cell_channels=0, question_channels=0, word_channels=0)

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
        require(isinstance(result, Question), f"forward must return Question, found {type(result).__name__}")
        lengths_Q: Tensor = inputs["lengths_Q"]
        shape = (len(lengths_Q), module.out_channels)
        require_tensor(result.vector_QC, "vector_QC", shape, "(Q, out_channels)")
        require(
            isinstance(result.lengths_Q, Tensor)
            and (result.lengths_Q.is_meta or torch.equal(result.lengths_Q.cpu(), lengths_Q.cpu())),
            "lengths_Q must come out as it went in",
        )
        require(
            result.image_id_Q is None and result.relevant_QN is None and result.words_QT is None,
            "image_id_Q, relevant_QN and words_QT are not the question encoder's to set",
        )
        words_QTC, channels = result.words_QTC, module.word_channels
        require(
            (words_QTC is not None) == (channels > 0),
            f"word_channels is {channels} and words_QTC {'None' if words_QTC is None else 'given'}; set both "
            "or neither",
        )
        if words_QTC is None:
            return
        longest = max(LENGTHS)
        steps = words_QTC.shape[1] if words_QTC.dim() == 3 else 0
        require(steps >= longest, f"words_QTC must have a state for each of {longest} words, found {steps}")
        require_tensor(words_QTC, "words_QTC", (len(lengths_Q), steps, channels), "(Q, T, word_channels)")
        if not words_QTC.is_meta:
            after_QT = torch.arange(steps, device=words_QTC.device) >= torch.tensor(LENGTHS).unsqueeze(1)
            require(
                not words_QTC[after_QT].any(), "words_QTC must be zero after the last word of each question"
            )

    @classmethod
    def same_result(cls, actual: Any, expected: Any, message: str) -> None:
        """The vectors are the same, and the states at the words that exist."""
        require_close(actual.vector_QC, expected.vector_QC, cls.tolerance, f"{message} (vector_QC)")
        if expected.words_QTC is not None:
            steps = min(actual.words_QTC.shape[1], expected.words_QTC.shape[1])
            require_close(
                actual.words_QTC[:, :steps],
                expected.words_QTC[:, :steps],
                cls.tolerance,
                f"{message} (words_QTC)",
            )

    def test_padding_has_no_influence(self) -> None:
        """More columns of padding leave the vectors as they are."""
        module, inputs = self.make(), self.inputs()
        padded = torch.nn.functional.pad(inputs["words_QT"], (0, 4))
        self.same_result(
            module(padded, inputs["lengths_Q"]),
            self.run(module, inputs),
            "four more columns of padding change the question; read only lengths_Q words",
        )

    def test_questions_do_not_meet(self) -> None:
        """A question alone, without padding, gives the vector it gives in a batch."""
        module, inputs = self.make(), self.inputs()
        together = self.run(module, inputs)
        for question, length in enumerate(LENGTHS):
            alone = module(inputs["words_QT"][question : question + 1, :length], torch.tensor([length]))
            self.same_result(
                alone,
                pick(together, slice(question, question + 1)),
                f"a question of {length} words gives something else alone than in a batch",
            )

    def test_order_of_questions_does_not_matter(self) -> None:
        """Questions in another order give the same vectors in that order."""
        module, inputs = self.make(), self.inputs()
        order = torch.tensor([3, 0, 4, 1, 2])
        self.same_result(
            module(inputs["words_QT"][order], inputs["lengths_Q"][order]),
            pick(self.run(module, inputs), order),
            "what comes out does not follow the order of the questions",
        )

    def test_every_word_is_read(self) -> None:
        """Each word of a question, the first and the last too, has influence on its vector."""
        module, inputs = self.make(), self.inputs()
        words_QT, before_QC = inputs["words_QT"], self.run(module, inputs).vector_QC
        for place in range(max(LENGTHS)):
            changed = words_QT.clone()
            inside = place < inputs["lengths_Q"]
            # The next word of the vocabulary, after the last comes the first that is no padding.
            changed[inside, place] = words_QT[inside, place] % (self.sizes.words - 1) + 1
            moved = (module(changed, inputs["lengths_Q"]).vector_QC != before_QC).any(1)
            require(
                bool(moved[inside].all()),
                f"word {place + 1} of a question has no influence on its vector; are words cut off?",
            )
