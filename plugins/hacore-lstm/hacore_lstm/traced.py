"""An LSTM over padded words, step by step, for torch.export.

Packed sequences cannot be exported, and ``nn.LSTM`` only for the number of words that it was traced with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._higher_order_ops import while_loop


def states(lstm: nn.LSTM, embedded_QTC: Tensor, lengths_Q: Tensor) -> tuple[Tensor, Tensor]:
    """(Q, C), (Q, T, C): the top layer's last hidden state, and its state at each word; of both directions.

    embedded_QTC: word vectors, whatever they hold from ``lengths_Q`` on. Without dropout. The same numbers
    as of the packed sequence, up to rounding.
    """
    input_TQC = embedded_QTC.transpose(0, 1)
    last: list[Tensor] = []
    for layer in range(lstm.num_layers):
        runs = [
            _run(lstm, f"_l{layer}{suffix}", input_TQC, lengths_Q, backwards=bool(suffix))
            for suffix in (("", "_reverse") if lstm.bidirectional else ("",))
        ]
        last = [state_QH for state_QH, _ in runs]
        input_TQC = torch.cat([output_TQH for _, output_TQH in runs], dim=2)
    steps_T1 = torch.arange(input_TQC.shape[0], device=lengths_Q.device)[:, None]
    inside_QT1 = steps_T1 < lengths_Q[:, None, None]
    return torch.cat(last, dim=1), input_TQC.transpose(0, 1) * inside_QT1.to(input_TQC.dtype)


def _run(
    lstm: nn.LSTM, name: str, input_TQC: Tensor, lengths_Q: Tensor, *, backwards: bool
) -> tuple[Tensor, Tensor]:
    """Last state (Q, H) and output (T, Q, H) of one layer in one direction."""
    w_ih, w_hh, b_ih, b_hh = (
        getattr(lstm, part + name) for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    gates_TQG = F.linear(input_TQC, w_ih, b_ih + b_hh)
    steps_T11 = torch.arange(input_TQC.shape[0], device=input_TQC.device)[:, None, None]
    lengths_Q1 = lengths_Q[:, None]
    longest = lengths_Q.max()

    def more(step: Tensor, hidden_QH: Tensor, cell_QH: Tensor, output_TQH: Tensor) -> Tensor:
        return step < longest

    def advance(
        step: Tensor, hidden_QH: Tensor, cell_QH: Tensor, output_TQH: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        at = longest - 1 - step if backwards else step
        gates_QG = gates_TQG.index_select(0, at.view(1)).squeeze(0) + F.linear(hidden_QH, w_hh)
        let_in, keep, new, let_out = gates_QG.chunk(4, dim=1)
        next_QH = keep.sigmoid() * cell_QH + let_in.sigmoid() * new.tanh()
        # Padding leaves the state as it is: after the last word, or backwards before it.
        inside_Q1 = at < lengths_Q1
        cell_QH = torch.where(inside_Q1, next_QH, cell_QH)
        hidden_QH = torch.where(inside_Q1, let_out.sigmoid() * next_QH.tanh(), hidden_QH)
        return step + 1, hidden_QH, cell_QH, torch.where(steps_T11 == at, hidden_QH, output_TQH)

    start_QH = input_TQC.new_zeros(input_TQC.shape[1], lstm.hidden_size)
    output_TQH = input_TQC.new_zeros(*input_TQC.shape[:2], lstm.hidden_size)
    _, state_QH, _, output_TQH = while_loop(
        more, advance, (torch.zeros_like(longest), start_QH, start_QH.clone(), output_TQH)
    )
    return state_QH, output_TQH
