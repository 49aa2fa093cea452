"""What the contract says of question encoders: the vector, the states of words, and what is not theirs."""

import attrs
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hacore.interfaces import Question, QuestionEncoder


class Encoder(QuestionEncoder):
    """An LSTM with the state at each word."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.out_channels = self.word_channels = 6
        self.embedding = nn.Embedding(sizes.words, 4, padding_idx=0)
        self.lstm = nn.LSTM(4, 6, batch_first=True)

    def forward(self, words_QT, lengths_Q):
        packed = pack_padded_sequence(
            self.embedding(words_QT), lengths_Q, batch_first=True, enforce_sorted=False
        )
        output, (last_1QC, _) = self.lstm(packed)
        words_QTC, _ = pad_packed_sequence(output, batch_first=True)
        return Question(last_1QC[0], words_QTC, lengths_Q)


class Changed(Encoder):
    """Right, with one thing changed in what it returns."""

    def forward(self, words_QT, lengths_Q):
        question = super().forward(words_QT, lengths_Q)
        return attrs.evolve(question, **self.change(question))


class NoWords(Changed):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.word_channels = 0

    def change(self, question):
        return {"words_QTC": None}


class Padded(Changed):
    """More steps than the longest question has words, all of them zero."""

    def change(self, question):
        return {"words_QTC": nn.functional.pad(question.words_QTC, (0, 0, 0, 2))}


class WordsUntold(Encoder):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.word_channels = 0


class WordsPromised(Changed):
    def change(self, question):
        return {"words_QTC": None}


class OtherChannels(Encoder):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.word_channels = 5


class GoesOn(Changed):
    """The last state stands in every step after it."""

    def change(self, question):
        steps = torch.arange(question.words_QTC.shape[1], device=question.words_QTC.device)
        after_QT = steps >= question.lengths_Q.to(steps.device).unsqueeze(1)
        last_QTC = question.vector_QC.unsqueeze(1).expand_as(question.words_QTC)
        return {"words_QTC": torch.where(after_QT.unsqueeze(-1), last_QTC, question.words_QTC)}


class TooFewSteps(Changed):
    def change(self, question):
        return {"words_QTC": question.words_QTC[:, :5]}


class NoLengths(Changed):
    def change(self, question):
        return {"lengths_Q": None}


class OtherLengths(Changed):
    def change(self, question):
        return {"lengths_Q": question.lengths_Q + 1}


class NamesImages(Changed):
    def change(self, question):
        return {"image_id_Q": torch.zeros_like(question.lengths_Q)}


class NamesCells(Changed):
    def change(self, question):
        return {"relevant_QN": torch.zeros(len(question.lengths_Q), 24, dtype=torch.bool)}


class NamesWords(Changed):
    def change(self, question):
        return {"words_QT": torch.ones(len(question.lengths_Q), 7, dtype=torch.int64)}


class Bare(Encoder):
    def forward(self, words_QT, lengths_Q):
        return super().forward(words_QT, lengths_Q).vector_QC


class WordsOfOthers(Changed):
    """The vector is that of the question, the states are mixed up with those of the batch."""

    def change(self, question):
        mean_1TC = question.words_QTC.mean(0, keepdim=True)
        return {"words_QTC": torch.where(question.words_QTC != 0, question.words_QTC - mean_1TC, 0.0)}


class ReadsPadding(Encoder):
    def forward(self, words_QT, lengths_Q):
        question = super().forward(words_QT, lengths_Q)
        return attrs.evolve(question, vector_QC=self.lstm(self.embedding(words_QT))[1][0][0])


class Cut(Encoder):
    def forward(self, words_QT, lengths_Q):
        cut = super().forward(words_QT[:, :5], lengths_Q.clamp(max=5))
        return attrs.evolve(super().forward(words_QT, lengths_Q), vector_QC=cut.vector_QC)


class DropsLast(Encoder):
    def forward(self, words_QT, lengths_Q):
        shorter = super().forward(words_QT, (lengths_Q - 1).clamp(min=1))
        return attrs.evolve(super().forward(words_QT, lengths_Q), vector_QC=shorter.vector_QC)


class SortsAway(Encoder):
    def forward(self, words_QT, lengths_Q):
        order = lengths_Q.argsort(descending=True)
        return attrs.evolve(super().forward(words_QT[order], lengths_Q[order]), lengths_Q=lengths_Q)


class MeanOfAll(Encoder):
    def forward(self, words_QT, lengths_Q):
        mean_QC = self.lstm(self.embedding(words_QT))[0].sum(1) / words_QT.shape[1]
        return attrs.evolve(super().forward(words_QT, lengths_Q), vector_QC=mean_QC)


class SmallVocabulary(Encoder):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.embedding = nn.Embedding(sizes.words - 1, 4, padding_idx=0)


@pytest.mark.parametrize("cls", [Encoder, NoWords, Padded])
def test_right_question_encoders_pass(failures, cls):
    assert failures("question_encoder", cls) == {}


@pytest.mark.parametrize(
    ("cls", "test", "words"),
    [
        (ReadsPadding, "test_padding_has_no_influence", "read only lengths_Q words"),
        (ReadsPadding, "test_questions_do_not_meet", "a question of 5 words gives something else alone"),
        (Cut, "test_every_word_is_read", "word 6 of a question has no influence"),
        (DropsLast, "test_every_word_is_read", "are words cut off?"),
        (SortsAway, "test_order_of_questions_does_not_matter", "does not follow the order"),
        (MeanOfAll, "test_padding_has_no_influence", "four more columns of padding change"),
        (SmallVocabulary, "test_result", "IndexError"),
        (WordsUntold, "test_result", "word_channels is 0 and words_QTC given; set both or neither"),
        (WordsPromised, "test_result", "word_channels is 6 and words_QTC None; set both or neither"),
        (OtherChannels, "test_result", "words_QTC has shape (5, 7, 6); must be (Q, T, word_channels)"),
        (GoesOn, "test_result", "words_QTC must be zero after the last word of each question"),
        (TooFewSteps, "test_result", "words_QTC must have a state for each of 7 words, found 5"),
        (NoLengths, "test_result", "lengths_Q must come out as it went in"),
        (OtherLengths, "test_result", "lengths_Q must come out as it went in"),
        (
            NamesImages,
            "test_result",
            "image_id_Q, relevant_QN and words_QT are not the question encoder's to set",
        ),
        (
            NamesCells,
            "test_result",
            "image_id_Q, relevant_QN and words_QT are not the question encoder's to set",
        ),
        (
            NamesWords,
            "test_result",
            "image_id_Q, relevant_QN and words_QT are not the question encoder's to set",
        ),
        (Bare, "test_result", "forward must return Question, found Tensor"),
        (WordsOfOthers, "test_questions_do_not_meet", "(words_QTC)"),
    ],
)
def test_wrong_question_encoders_fail(failures, cls, test, words):
    problems = failures("question_encoder", cls)
    assert test in problems, problems
    assert words in problems[test]
