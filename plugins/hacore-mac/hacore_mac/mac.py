"""Memory, Attention and Composition: a recurrent cell that reads words and kept cells in turns."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hacore_attention import attention, log_weight
from torch import Tensor, nn

from hacore.interfaces import Aggregator, Question, Selection, Sizes
from hacore_mac import Config


class MAC(Aggregator[Config]):
    """Selection, ``Question`` -> (Q, width + C_q): the last memory, and after it the question's vector.

    With q a question's vector, v_t = W_v w_t + b_v of the states w_t of its words, and
    k_j = elu(W_x [x_j, y_j] + b_x) of the vectors x_j and coordinates y_j of its kept cells, step i is::

        control  a_i = W_a [c_(i-1), U_i q + u_i] + b_a
                 c_i = sum_t softmax_t(s . (a_i * v_t)) v_t
        read     I_ij = (W_m m_(i-1) + b_m) * (W_k k_j)
                 r_i = sum_j softmax_j(p . (c_i * (W_I [I_ij, k_j])) + log u_j) k_j
        write    m_i = W_r [r_i, m_(i-1)] + b_r

    in which * is by channel and u_j the selection's weight of a cell, 1 if it gives none. A cell of weight 0,
    as one that is not valid, is not there; weights are not negative; without any cell r_i is 0. c_0 and m_0
    are trained. With ``tally``, t_j being the scores of the read unit's softmax, r_i becomes::

        r_i + W_t (sum_j u_j sigmoid(t_j + b_t) k_j)

    A softmax gives weights that sum to one, whether two cells fit or five; this sum can tell. Other options
    change the write unit; with m'_i the memory so far, m_i becomes::

        self_attention   m'_i + W_s (sum over j < i of softmax_j(z . (c_i * c_j)) m_j)
        gate             g_i m_(i-1) + (1 - g_i) m'_i,  g_i = sigmoid(w_g . c_i + b_g)

    Source: Hudson and Manning 2018, *Compositional Attention Networks for Machine Reasoning*, ICLR,
    arXiv 1803.03067, equations c1 to c3, r1 to r4 and w1 to w3, without the biases that a softmax cancels.
    The paper's two convolutions before are here one layer of the kept cells. The head is its output unit.
    j = 0 is among the steps looked back at, as in the authors' code. That code has an ELU after W_I (with a
    bias then) and another after the product with c_i, which is the option ``elu``.

    Without it the read unit is linear in k_j before its softmax, so each step makes one vector a question and
    takes its product with every cell, rather than two layers of every cell; the result is the same. Entries
    that are not valid are masked: groups of questions, step by step, cost as much as they save. Masks of
    dropout are drawn once for all steps (Gal and Ghahramani 2016, arXiv 1512.05287).

    Raises ValueError where the question encoder gives no states of words.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        width = config.width
        self.out_channels = width + sizes.question_channels
        if not sizes.word_channels:
            raise ValueError(
                "the question encoder gives no state at each word, to which each step attends; "
                "use an encoder that does, as lstm"
            )
        self.words = nn.Linear(sizes.word_channels, width)
        self.cells = nn.Linear(sizes.cell_channels + 2 * config.coordinates, width)
        self.control_start, self.memory_start = (nn.Parameter(torch.randn(width)) for _ in range(2))
        # Control.
        self.ask = nn.Linear(sizes.question_channels, config.steps * width)
        self.merge = nn.Linear(2 * width, width)
        self.word_score = nn.Linear(width, 1, bias=False)
        # Read; a bias before the softmax matters only where an ELU comes between.
        self.remember = nn.Linear(width, width)
        self.know = nn.Linear(width, width, bias=config.elu)
        self.join = nn.Linear(2 * width, width, bias=config.elu)
        self.cell_score = nn.Linear(width, 1, bias=False)
        self.tally = _Tally(width) if config.tally else None
        # Write.
        self.write = nn.Linear(2 * width, width)
        self.step_score = nn.Linear(width, 1, bias=False) if config.self_attention else None
        self.recall = nn.Linear(width, width, bias=False) if config.self_attention else None
        self.gate = nn.Linear(width, 1) if config.gate else None

    def forward(self, selection: Selection, question: Question) -> Tensor:
        question_QC = question.vector_QC
        words_QTW, word_bias_Q1T = self._words(question)
        cells = _Cells(self, selection)
        control_QW, memory_QW = (
            start_W.expand(question_QC.shape[0], -1).to(words_QTW)
            for start_W in (self.control_start, self.memory_start)
        )
        mask_QW = F.dropout(torch.ones_like(memory_QW), self.config.memory_dropout, self.training)
        controls, memories = [control_QW], [memory_QW]
        # What a step asks depends on the question alone: all steps at once.
        from_control, from_question = self.merge.weight.split(self.config.width, 1)
        asked_QSW = self.ask(question_QC).unflatten(1, (self.config.steps, -1))
        for asked_QW in F.linear(asked_QSW, from_question, self.merge.bias).unbind(1):
            sought_QW = asked_QW + F.linear(controls[-1], from_control)
            query_QW = sought_QW * self.word_score.weight
            control_QW = _attended(query_QW, words_QTW, words_QTW, word_bias_Q1T)
            known_QW = self.remember(memories[-1] * mask_QW)
            memory_QW = self._written(cells.read(control_QW, known_QW), control_QW, controls, memories)
            controls.append(control_QW)
            memories.append(memory_QW)
        return torch.cat([memories[-1].to(self.memory_start), question_QC.to(self.memory_start)], 1)

    def _words(self, question: Question) -> tuple[Tensor, Tensor]:
        """(Q, T, width) of the words, and (Q, 1, T), -inf after the last."""
        assert question.words_QTC is not None
        assert question.lengths_Q is not None
        words_QTW = self.words(question.words_QTC)
        place_T = torch.arange(words_QTW.shape[1], device=words_QTW.device)
        lengths_Q1 = question.lengths_Q.to(words_QTW.device, non_blocking=True).unsqueeze(1)
        return words_QTW, log_weight((place_T < lengths_Q1).to(words_QTW)).unsqueeze(1)

    def _written(
        self, read_QW: Tensor, control_QW: Tensor, controls: list[Tensor], memories: list[Tensor]
    ) -> Tensor:
        """(Q, width): the memory of a step, from what it read and the steps before it."""
        memory_QW: Tensor = self.write(torch.cat([read_QW, memories[-1]], 1))
        if self.step_score is not None and self.recall is not None:
            earlier_QSW, their_QSW = torch.stack(controls, 1), torch.stack(memories, 1)
            query_QW = control_QW * self.step_score.weight
            memory_QW = memory_QW + self.recall(_attended(query_QW, earlier_QSW, their_QSW, None))
        if self.gate is not None:
            kept_Q1 = self.gate(control_QW).sigmoid()
            memory_QW = kept_Q1 * memories[-1] + (1 - kept_Q1) * memory_QW
        return memory_QW


class _Cells:
    """The kept cells of a batch of questions, as all steps read them."""

    def __init__(self, mac: MAC, selection: Selection) -> None:
        self.mac, config = mac, mac.config
        x_QKC = selection.features_QKC
        if config.coordinates:
            place_QK2 = config.coordinate_scale * selection.kept_positions_QK2
            x_QKC = torch.cat([x_QKC, place_QK2.to(x_QKC.dtype)], 2)
        self.cells_QKW = F.dropout(F.elu(mac.cells(x_QKC)), config.read_dropout, mac.training)
        weight_QK = selection.masked_weight_QK
        self.bias_Q1K = None if weight_QK is None else log_weight(weight_QK).unsqueeze(1)
        self.present_Q1 = None if weight_QK is None else (weight_QK > 0).any(1, keepdim=True)
        self.weight_QK = weight_QK
        if config.elu:
            self.known_QKW = mac.know(self.cells_QKW)
            self.rest_QKW = F.linear(self.cells_QKW, mac.join.weight[:, config.width :], mac.join.bias)

    def read(self, control_QW: Tensor, known_QW: Tensor) -> Tensor:
        """(Q, width): r of a step; known_QW: W_m m + b_m."""
        mac = self.mac
        if mac.config.elu:
            inner_QKW = F.linear(
                self.known_QKW * known_QW.unsqueeze(1), mac.join.weight[:, : mac.config.width]
            )
            key_QKW = F.elu(F.elu(inner_QKW + self.rest_QKW) * control_QW.unsqueeze(1))
            query_QW = mac.cell_score.weight.expand(key_QKW.shape[0], -1)
        else:
            # p . (c * (W_I [I, k])) is a product of k with one vector.
            with_inner_QW, with_cell_QW = ((control_QW * mac.cell_score.weight) @ mac.join.weight).chunk(2, 1)
            query_QW = (with_inner_QW * known_QW) @ mac.know.weight + with_cell_QW
            key_QKW = self.cells_QKW
        read_QW = _attended(query_QW, key_QKW, self.cells_QKW, self.bias_Q1K)
        if mac.tally is not None:
            score_QK = (key_QKW @ query_QW.to(key_QKW).unsqueeze(2)).squeeze(2)
            read_QW = read_QW + mac.tally(score_QK, self.cells_QKW, self.weight_QK)
        return read_QW if self.present_Q1 is None else read_QW * self.present_Q1


class _Tally(nn.Module):
    """Scores (Q, K), cells (Q, K, W) and their weights (Q, K) or None -> (Q, W): a layer of their sum, each
    cell as far as the sigmoid of its score says."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1))
        self.layer = nn.Linear(width, width, bias=False)

    def forward(self, score_QK: Tensor, cells_QKW: Tensor, weight_QK: Tensor | None) -> Tensor:
        wide = torch.promote_types(score_QK.dtype, torch.float32)
        share_QK = (score_QK.to(wide) + self.start).sigmoid()
        if weight_QK is not None:
            share_QK = share_QK * weight_QK
        total_QW: Tensor = self.layer((share_QK.to(cells_QKW).unsqueeze(1) @ cells_QKW).squeeze(1))
        return total_QW


def _attended(query_QW: Tensor, key_QKW: Tensor, value_QKW: Tensor, bias_Q1K: Tensor | None) -> Tensor:
    """(Q, W): one query a question, one head."""
    bias_Q11K = None if bias_Q1K is None else bias_Q1K.unsqueeze(1)
    query_Q11W = query_QW.to(key_QKW)[:, None, None]
    return attention(query_Q11W, key_QKW.unsqueeze(1), value_QKW.unsqueeze(1), bias_Q11K)[:, 0, 0]
