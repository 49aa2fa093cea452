"""``hacore bench``."""

from __future__ import annotations

from contextlib import closing

import click

from hacore.cli.tables import device_option, json_option, print_json, set_option
from hacore.console import Console, show_log


@click.command(no_args_is_help=True)
@click.argument("spec", type=click.Path(), metavar="SPEC|RUN")
@set_option
@click.option(
    "--batch",
    multiple=True,
    default=(1, 32),
    show_default=True,
    type=click.IntRange(min=1),
    metavar="QUESTIONS",
    help="Questions at once, each about an image of its own if there are enough. May be repeated.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="How long is measured, after the warm-up; every piece of work is done three times at least.",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=3),
    default=50,
    show_default=True,
    help="How often every piece of work is done at most.",
)
@click.option(
    "--all-cells/--no-all-cells", default=True, help="Compare it with the same model with all cells."
)
@click.option("--memory/--no-memory", default=True, help="Measure peak memory.")
@device_option
@json_option
def bench(
    spec: str,
    overrides: tuple[str, ...],
    batch: tuple[int, ...],
    seconds: float,
    repeats: int,
    all_cells: bool,
    memory: bool,
    device: str,
    as_json: bool,
) -> None:
    """Time the model of SPEC, a TOML file, or of RUN, a run folder, stage by stage.

    For batches of 1 and of 32 questions of the data: milliseconds forward and backward of every stage, of the
    whole model, and of a training step; questions a second, peak memory, multiply-adds, and how close they
    come to the speed of a matrix product on the same device. Beside it the same model with all cells; the two
    take turns. The weights are those of RUN, or random for a SPEC. Precision, threads and torch.compile are
    what train.precision, train.threads and train.compile say.

    \b
    Examples:
      hacore bench experiments/han_rn.toml
      hacore bench experiments/han_rn.toml selector.k=5 train.precision=bfloat16 --batch 64
      hacore bench runs/adahan_rn/20260101-120000-abc123 --json
    """
    show_log(console := Console())
    from hacore_bench.measuring import bench as measure
    from hacore_bench.table import show

    with closing(console):
        result = measure(
            *(spec, overrides),
            batch=batch,
            seconds=seconds,
            repeats=repeats,
            all_cells=all_cells,
            memory=memory,
            device=device,
            console=console,
        )
    if as_json:
        print_json(result.as_dict())
    else:
        show(result)
