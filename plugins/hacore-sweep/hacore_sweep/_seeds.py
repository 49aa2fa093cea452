"""The runs of a sweep that have some seeds. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection

from hacore.errors import HacoreError
from hacore.spec import Sweep


def of_seeds(sweep: Sweep, seeds: Collection[int]) -> set[str]:
    """Short names of the combinations with these seeds; with none, of all.

    Raises HacoreError for a seed that none has.
    """
    known = sorted({combination.seed for combination in sweep.combinations})
    if unknown := sorted(set(seeds) - set(known)):
        raise HacoreError(
            f"seed {unknown[0]} is not in the sweep, which has {', '.join(map(str, known))}; "
            "add it to seeds in the spec"
        )
    return {one.short for one in sweep.combinations if not seeds or one.seed in seeds}
