"""What a data tool, as in ``hacore data verify clevr DIR``, is given and what it returns. Imports no torch.

A tool is a function ``(config, tell) -> Outcome`` that a plugin declares as a component of the kind
``prepare``, say. What it cannot do at all it raises as ``hacore.errors.DataError``; what it
finds wrong with data that it could read goes into ``Outcome.problems``, all of it.
"""

from __future__ import annotations

from typing import Any, Protocol

import attrs

from hacore.console import Silent

__all__ = ["Outcome", "Silent", "Tell"]


class Tell(Protocol):
    """How a tool talks to the person who waits; ``Silent()`` is one that says nothing."""

    def message(self, text: str) -> None:
        """Something worth a line."""

    def progress(self, name: str, done: int, total: int, /) -> None:
        """``done`` of ``total`` of the piece of work ``name``; called as often as is convenient."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What a tool did.

    summary: what was made, counted or scored, in the order to show it; values that JSON can hold.
    problems: a line each, which says where, what was found and what to do; none: all is well.
    """

    summary: dict[str, Any]
    problems: tuple[str, ...] = ()
