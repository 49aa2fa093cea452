"""KEY=VALUE among other words of a command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hacore.runs.places import CHANGED

_KEY_VALUE = re.compile(rf"({'|'.join(CHANGED)})\.[\w.-]+\s*=")


def split_changes(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(changes, other words): KEY=VALUE as ``read_changes`` takes them stand anywhere among the words."""
    changes = tuple(word for word in words if _KEY_VALUE.match(word))
    return changes, tuple(word for word in words if word not in changes)
