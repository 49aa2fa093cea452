"""Word embedding and LSTM; the last hidden state stands for the question, the others for its words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hacore.interfaces import Question, QuestionEncoder, Sizes
from hacore_lstm import Config
from hacore_lstm.padded import in_order, padded_states, reversed_index
from hacore_lstm.traced import states


class LSTM(QuestionEncoder[Config]):
    """Words (Q, T), lengths (Q) -> ``Question`` of C channels, C = hidden, doubled if bidirectional.

    The vector is the top layer's last hidden state, of both directions one after the other; the state at a
    word is the top layer's when it has read that word, of both directions likewise. Padding, whatever it
    holds, changes nothing; on the CPU the batch is padded to its longest question, elsewhere it is packed,
    which is what runs fastest there. Embedding 32 and
    state 128 are those of Santoro et al. 2017 (arXiv 1706.01427); in Malinowski et al. 2018 the sizes
    are open. Reading questions backwards helped public reimplementations of the RN on CLEVR. They keep the
    question mark as a word, and so begin with it; ``start`` is that for data that drop what is always there.

    Word vectors that the data bring (``Sizes.word_vectors``) are what the embedding starts with; they must
    have ``embedding`` channels, and are trained on with the rest.

    The lengths are needed on the CPU. Lengths that live there already, even with the words on
    another device, spare the wait for a copy. Raises ValueError for lengths outside 1..T.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.embedding = nn.Embedding(sizes.words, config.embedding, padding_idx=0)
        if sizes.word_vectors is not None:
            self._start_embedding(sizes.word_vectors)
        self.lstm = nn.LSTM(
            config.embedding,
            config.hidden,
            config.layers,
            batch_first=True,
            dropout=config.dropout,
            bidirectional=config.bidirectional,
        )
        self.start = nn.Parameter(torch.randn(config.embedding)) if config.start else None
        if config.init == "orthogonal":
            self._initialise()
        self.out_channels = self.word_channels = config.hidden * (2 if config.bidirectional else 1)

    @torch.no_grad()
    def _start_embedding(self, vectors: npt.NDArray[np.float32]) -> None:
        """Take the data's word vectors; words without one keep their random start, at the others' scale."""
        if vectors.shape[1] != self.config.embedding:
            raise ValueError(
                f"the data's word vectors have {vectors.shape[1]} channels, embedding = "
                f"{self.config.embedding}; set embedding = {vectors.shape[1]}"
            )
        given_WC = torch.from_numpy(vectors)
        known_W = given_WC.any(1)
        if known_W.any():
            self.embedding.weight.mul_(given_WC[known_W].std(correction=0))
            self.embedding.weight[known_W] = given_WC[known_W]

    @torch.no_grad()
    def _initialise(self) -> None:
        """Each gate's matrices orthogonal (recurrent) or Xavier uniform (input), forget gates at 1.

        torch's own start leaves the last state almost blind to what distinguishes two questions: the
        colour of one word moves it by a fiftieth of its unit range, here by three times as much.
        """
        for name, parameter in self.lstm.named_parameters():
            gates = parameter.chunk(4)
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
                nn.init.constant_(gates[1], 0.5)  # two biases are added; their sum is 1
                continue
            for gate in gates:
                fill = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
                fill(gate)

    def forward(self, words_QT: Tensor, lengths_Q: Tensor) -> Question:
        if torch.compiler.is_exporting():
            vector_QC, states_QTC = states(self.lstm, *self._read(words_QT, lengths_Q))
            return self._question(vector_QC, states_QTC, lengths_Q)
        lengths_Q = lengths_Q.cpu()
        shortest, longest = (int(length) for length in lengths_Q.aminmax())
        if shortest < 1 or longest > words_QT.shape[1]:
            raise ValueError(
                f"question lengths from {shortest} to {longest} in words of shape {tuple(words_QT.shape)}; "
                f"lengths must be from 1 to {words_QT.shape[1]}"
            )
        words_QT = words_QT[:, :longest]
        # Finding equal rows on another device would wait for it. Under dropout equal questions
        # must not share their noise.
        noisy = self.training and self.config.dropout > 0
        if not self.config.unique or noisy or words_QT.device.type != "cpu":
            return self._question(*self._encode(words_QT, lengths_Q), lengths_Q)
        # With the length in front and the padding blank, rows are equal when questions are.
        padding_QT = torch.arange(longest) >= lengths_Q[:, None]
        rows = torch.cat([lengths_Q[:, None], words_QT.masked_fill(padding_QT, 0)], dim=1)
        rows, row_Q = torch.unique(rows, dim=0, return_inverse=True)
        vector_UC, states_UTC = self._encode(rows[:, 1:], rows[:, 0])
        vector_QC, states_QTC = vector_UC.index_select(0, row_Q), states_UTC.index_select(0, row_Q)
        return self._question(vector_QC, states_QTC, lengths_Q)

    def _question(self, vector_QC: Tensor, states_QTC: Tensor, lengths_Q: Tensor) -> Question:
        """The states in the order of the words, without that at the start, zeros after the last."""
        states_QTC = states_QTC[:, int(self.config.start) :]
        if self.config.reverse:
            index_QT = reversed_index(lengths_Q, states_QTC.shape[1]).to(states_QTC.device)
            inside_QT = torch.arange(states_QTC.shape[1], device=lengths_Q.device) < lengths_Q[:, None]
            states_QTC = in_order(states_QTC, index_QT)
            states_QTC = states_QTC * inside_QT[..., None].to(states_QTC)
        return Question(vector_QC=vector_QC, words_QTC=states_QTC, lengths_Q=lengths_Q)

    def _encode(self, words_QT: Tensor, lengths_Q: Tensor) -> tuple[Tensor, Tensor]:
        """Last state (Q, C), and states (Q, T, C) in the order in which vectors are read.

        Lengths on the CPU.
        """
        read_QTC, counts_Q = self._read(words_QT, lengths_Q)
        if words_QT.device.type == "cpu":
            return padded_states(self.lstm, read_QTC, counts_Q)
        packed = pack_padded_sequence(read_QTC, counts_Q, batch_first=True, enforce_sorted=False)
        output, (state, _) = self.lstm(packed)
        states_QTC, _ = pad_packed_sequence(output, batch_first=True, total_length=read_QTC.shape[1])
        # state: (layers * directions, Q, hidden), the top layer at the end.
        if self.config.bidirectional:
            return torch.cat([state[-2], state[-1]], dim=1), states_QTC
        return state[-1], states_QTC

    def _read(self, words_QT: Tensor, lengths_Q: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (Q, T, C) in the order in which they are read, and how many each question has."""
        if self.config.reverse:
            words_QT = _backwards(words_QT, lengths_Q)
        embedded_QTC = self.embedding(words_QT)
        if self.start is None:
            return embedded_QTC, lengths_Q
        start_Q1C = self.start.expand(embedded_QTC.shape[0], 1, -1)
        return torch.cat([start_Q1C, embedded_QTC], dim=1), lengths_Q + 1


def _backwards(words_QT: Tensor, lengths_Q: Tensor) -> Tensor:
    """Each question from its last word to its first; the lengths may be on another device."""
    index_QT = reversed_index(lengths_Q, words_QT.shape[1])
    return words_QT.gather(1, index_QT.to(words_QT.device, non_blocking=True))
