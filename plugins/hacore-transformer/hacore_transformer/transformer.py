"""A transformer encoder over the kept cells, the question and its words."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hacore_attention import attention, in_groups, log_weight
from torch import Tensor, nn

from hacore.interfaces import Aggregator, Question, Selection, Sizes
from hacore_transformer import Config


class Transformer(Aggregator[Config]):
    """Selection, ``Question`` -> (Q, width): what the class token has become, normalised.

    The tokens of a question are a trained vector (the class token), W_q q, W_w w_t for each word with its
    state w_t, and W_c [x_k, c_k] for each kept cell with its vector x_k and its coordinates c_k, all with
    biases. Each layer adds to each token x_i, of weight u_i::

        x_i = x_i + W_o [sum_j a_ij V_h n_j for each head h]      n_i = LayerNorm(x_i)
        x_i = x_i + F_2 relu(F_1 LayerNorm(x_i))
        a_ij = softmax_j(Q_h n_i . K_h n_j / sqrt(width / heads) + log u_j)

    u is the selection's weight for a cell, 1 for other tokens. A cell of weight 0, as one that is not valid,
    and a word after the last are not there; weights are not negative. Cells have no order but their
    coordinates; that of the words is in their states.

    Source: Vaswani et al. 2017, *Attention is all you need*, arXiv 1706.03762, with the norms before each
    part (Xiong et al. 2020, arXiv 2002.04745), which trains without a warm-up. Of the last layer only the
    class token is computed, as nothing reads the others. On CPU questions run in groups of similar count.

    Raises ValueError for ``words = true`` where the question encoder gives no states.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        width = self.out_channels = config.width
        if config.words and not sizes.word_channels:
            raise ValueError(
                "words = true, but the question encoder gives no state at each word; set words = false"
            )
        self.token = nn.Parameter(torch.randn(width))
        self.question = nn.Linear(sizes.question_channels, width)
        self.words = nn.Linear(sizes.word_channels, width) if config.words else None
        self.cells = nn.Linear(sizes.cell_channels + 2 * config.coordinates, width)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, selection: Selection, question: Question) -> Tensor:
        questions = question.vector_QC.shape[0]
        token_Q1W = self.token.expand(questions, 1, -1)
        tokens = [token_Q1W, self.question(question.vector_QC).unsqueeze(1).to(token_Q1W)]
        weights = [token_Q1W.new_ones(questions, 2)]
        if self.words is not None:
            assert question.words_QTC is not None
            assert question.lengths_Q is not None
            tokens.append(self.words(question.words_QTC).to(token_Q1W))
            place_T = torch.arange(question.words_QTC.shape[1], device=token_Q1W.device)
            lengths_Q1 = question.lengths_Q.to(token_Q1W.device, non_blocking=True).unsqueeze(1)
            weights.append((place_T < lengths_Q1).to(token_Q1W))
        return in_groups(selection, self._aggregate, torch.cat(tokens, 1), torch.cat(weights, 1))

    def _aggregate(self, selection: Selection, other_QSW: Tensor, weight_QS: Tensor) -> Tensor:
        x_QKC = selection.features_QKC
        if self.config.coordinates:
            place_QK2 = self.config.coordinate_scale * selection.kept_positions_QK2
            x_QKC = torch.cat([x_QKC, place_QK2.to(x_QKC.dtype)], 2)
        weight_QK = selection.masked_weight_QK
        if weight_QK is None:
            weight_QK = weight_QS.new_ones(x_QKC.shape[:2])
        bias_Q11S = log_weight(torch.cat([weight_QS, weight_QK.to(weight_QS)], 1))[:, None, None]
        # What the layers add to stays in the type of the parameters, and so do the norms.
        tokens_QSW = torch.cat([other_QSW, self.cells(x_QKC).to(other_QSW)], 1)
        for number, layer in enumerate(self.layers, 1):
            read = 1 if number == len(self.layers) else tokens_QSW.shape[1]
            tokens_QSW = layer(tokens_QSW, bias_Q11S, read)
        out_QW: Tensor = self.norm(tokens_QSW[:, 0])
        return out_QW


class _Layer(nn.Module):
    """Attention and feed-forward, each of normalised tokens and added to them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.attend, self.think = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.first, self.second = nn.Linear(width, config.feed_forward), nn.Linear(config.feed_forward, width)

    def forward(self, x_QSW: Tensor, bias_Q11S: Tensor, read: int) -> Tensor:
        """(Q, read, W): the first tokens, which are read; all are looked at."""
        normal_QSW = self.attend(x_QSW)
        query, key, value = (
            vectors.unflatten(2, (self.config.heads, -1)).transpose(1, 2)
            for vectors in (self.query(normal_QSW[:, :read]), *self.key_value(normal_QSW).chunk(2, 2))
        )
        attended = attention(query, key, value, bias_Q11S, query.shape[-1] ** -0.5)
        x_QSW = x_QSW[:, :read] + self._dropped(self.out(attended.transpose(1, 2).flatten(2)))
        return x_QSW + self._dropped(self.second(self.first(self.think(x_QSW)).relu()))

    def _dropped(self, x_QSW: Tensor) -> Tensor:
        return F.dropout(x_QSW, self.config.dropout, self.training)
