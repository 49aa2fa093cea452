"""Declares the executor "ray": the runs of a sweep on many machines. Imports no ray and no torch."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """Which cluster, and what a run takes of it."""

    address: str = option(
        "auto",
        "the cluster's, as 10.0.0.1:6379; 'auto' is $RAY_ADDRESS or the cluster that this machine is in, "
        "'local' a new one of this machine alone",
    )
    cpus: float | None = option(
        None, "CPUs that a run takes; left out: one for each of its threads and processes", min=0
    )
    gpus: float | None = option(
        None,
        "GPUs that a run takes, a part such as 0.5 where runs share one; left out: one for each of its "
        "processes where the cluster has GPUs",
        min=0,
    )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="executor",
            name="ray",
            target="hacore_ray.workers:RayWorkers",
            config=Config,
            summary="the machines of a Ray cluster, with the sweep folder on a file system that they share",
        )
    ]
