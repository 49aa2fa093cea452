"""Selectors without weights on tokens from anywhere: no spec, no data, and nothing is trained."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
from torch import Tensor

from hacore.errors import ComposeError, HacoreError, describe_error
from hacore.interfaces import Cells, Question, Selection, Sizes, build, grid_positions
from hacore.plugin import KINDS, TopK
from hacore.registry import registry
from hacore.spec import structure_config

_SMALL = Sizes(image=(0, 0, 0), words=0, answers=0, grid=(4, 4), cell_channels=4, question_channels=4)


def select(
    tokens: Tensor,
    question: Tensor | None = None,
    use: str = "diverse-k",
    *,
    grid: tuple[int, int] | None = None,
    **options: Any,
) -> Selection:
    """What a selector without weights keeps of the tokens (B, N, C) of B images, in evaluation mode.

    tokens: floating-point, on any device. question: (B, C), one an image; kept are then products of tokens
    and question, channel by channel, else the tokens as they are. ``gather_cells(tokens, kept.index_QK)`` of
    ``hacore.selection`` gives the tokens in any case. use, options: the selector and its options, as a spec
    has them; but one that keeps k tokens keeps 64, or all of fewer, unless k or fraction is given. grid:
    (rows, columns) of the tokens, for selectors that go by places; without it they are one row. Gradient
    reaches what is kept, as in training; the choice has none.

    Raises HacoreError for other shapes, PluginError and SpecError for what no spec may say, ComposeError for
    a selector that has weights, or cannot take these tokens.
    """
    installed, label = registry().find("selector", use), KINDS["selector"].of(use)
    grid = _grid(tokens, question, grid)
    if issubclass(installed.declared.config, TopK) and not {"k", "fraction"} & options.keys():
        options["k"] = min(64, tokens.shape[1])
    config = structure_config(installed.declared.config, options, "selector")
    fused, asked = tokens, tokens.new_zeros(len(tokens), 0)
    if question is not None:
        fused, asked = tokens * question.unsqueeze(1), question
    channels = tokens.shape[2]
    sizes = attrs.evolve(_SMALL, grid=grid, cell_channels=channels, question_channels=asked.shape[1])
    cells = Cells(features=fused, positions=grid_positions(grid).to(tokens.device), grid=grid)
    try:
        selector = build(installed.load(), config, sizes).to(tokens.device).eval()
        if weights := list(selector.state_dict()):
            raise ComposeError(
                f"{label}: has weights ({', '.join(weights[:3])}), which need training; choose one that has "
                f"none: {', '.join(_without_weights())}"
            )
        kept: Selection = selector(cells, Question(asked))
    except HacoreError:
        raise
    except Exception as error:
        problem = str(error)  # of a ValueError, which is written for users
        if not isinstance(error, ValueError):
            problem = describe_error(error) + ("; it may need a question" if question is None else "")
        what = f"{sizes.cells} tokens of {channels} channels"
        raise ComposeError(f"{label} cannot take {what}: {problem}") from error
    return kept


def _grid(tokens: Tensor, question: Tensor | None, grid: tuple[int, int] | None) -> tuple[int, int]:
    """That of the tokens. Raises HacoreError for what does not go together."""
    if not isinstance(tokens, Tensor) or tokens.dim() != 3 or not tokens.is_floating_point():
        raise HacoreError(f"tokens: found {_shown(tokens)}; must be floating-point numbers (B, N, C)")
    images, count, channels = tokens.shape
    if question is not None and getattr(question, "shape", ()) != (images, channels):
        must = f"must be {(images, channels)}, for each image a vector as wide as its tokens"
        raise HacoreError(f"question: found {_shown(question)}; {must}")
    rows, columns = (1, count) if grid is None else grid
    if rows * columns != count:
        raise HacoreError(f"grid: found {rows}x{columns}; must be rows and columns of {count} tokens")
    return rows, columns


def _shown(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _without_weights() -> list[str]:
    """Names of the installed selectors that have none as they are by default, and are told nothing."""
    names = []
    for installed in registry().of("selector"):
        with suppress(Exception):  # one that cannot be loaded is no way out
            selector = build(installed.load(), installed.declared.config(), _SMALL)
            names += [] if selector.oracle or selector.state_dict() else [installed.name]
    return names
