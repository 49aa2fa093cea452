"""An LSTM over padded words on the CPU, where oneDNN runs all words in one call.

torch runs a packed sequence word by word. Of a padded one the second direction would begin with the padding;
here it is an LSTM of its own over each question reversed by its own length.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def padded_states(lstm: nn.LSTM, embedded_QTC: Tensor, lengths_Q: Tensor) -> tuple[Tensor, Tensor]:
    """(Q, C), (Q, T, C): the top layer's last hidden state, and its state at each word; of both directions.

    embedded_QTC: word vectors, finite; whatever they hold from ``lengths_Q`` on has no influence. The same
    numbers as of the packed sequence up to rounding, gradients too; under autocast in its precision, where
    a packed sequence has its input and its weights rounded likewise. Differentiable once.
    """
    dtype = embedded_QTC.dtype
    if torch.is_autocast_enabled("cpu") and dtype == torch.float32:
        dtype = torch.get_autocast_dtype("cpu")
    index_QT = reversed_index(lengths_Q, embedded_QTC.shape[1])
    inside_QT1 = (torch.arange(embedded_QTC.shape[1]) < lengths_Q[:, None])[..., None].to(dtype)
    states_QTC = embedded_QTC.to(dtype)
    vectors: list[Tensor] = []
    for layer in range(lstm.num_layers):
        if layer and lstm.training and lstm.dropout:
            states_QTC = F.dropout(states_QTC, lstm.dropout)
        runs = [_run(lstm, f"_l{layer}", states_QTC)]
        if lstm.bidirectional:
            back_QTH = _run(lstm, f"_l{layer}_reverse", in_order(states_QTC, index_QT))
            runs.append(in_order(back_QTH, index_QT))
        # The second direction is done when it has read the first word.
        ends = (lengths_Q - 1, torch.zeros_like(lengths_Q))
        rows = torch.arange(len(lengths_Q))
        vectors = [run_QTH[rows, end_Q] for run_QTH, end_Q in zip(runs, ends, strict=False)]
        states_QTC = torch.cat(runs, dim=2) * inside_QT1
    return torch.cat(vectors, dim=1), states_QTC


def reversed_index(lengths_Q: Tensor, words: int) -> Tensor:
    """(Q, T): the places of a question's words from the last to the first, then zeros."""
    steps_T = torch.arange(words, device=lengths_Q.device)
    return (lengths_Q[:, None] - 1 - steps_T).clamp(min=0)


def in_order(x_QTC: Tensor, index_QT: Tensor) -> Tensor:
    """(Q, T, C): at each place the vector from the place that the index names."""
    return x_QTC.gather(1, index_QT[..., None].expand_as(x_QTC))


def _run(lstm: nn.LSTM, name: str, input_QTC: Tensor) -> Tensor:
    """(Q, T, H): the states of one layer in one direction, padding included."""
    start_1QH = input_QTC.new_zeros(1, len(input_QTC), lstm.hidden_size)
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = [getattr(lstm, part + name).to(input_QTC.dtype) for part in parts]
    output_QTH: Tensor
    output_QTH, *_ = torch.lstm(
        *(input_QTC, (start_1QH, start_1QH), weights),
        has_biases=True,
        num_layers=1,
        dropout=0.0,
        train=torch.is_grad_enabled(),
        bidirectional=False,
        batch_first=True,
    )
    return output_QTH
