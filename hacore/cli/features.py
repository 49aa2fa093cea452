"""``hacore features``."""

from __future__ import annotations

import datetime
import os
import time
from typing import TYPE_CHECKING, Any

import attrs
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from hacore.cli.tables import device_option, json_option, print_json, print_table, set_option
from hacore.errors import HacoreError
from hacore.spec import Spec, is_sweep, load_spec, load_sweep

if TYPE_CHECKING:
    from hacore.features.make import Made, Progress


@click.command(no_args_is_help=True)
@click.argument("spec", type=click.Path())
@set_option
@device_option
@click.option("--output", metavar="DIR", help="Folder of the store; default: features.root or features/NAME.")
@click.option(
    "--splits", multiple=True, metavar="SPLIT", help="Split to encode; may be repeated. Default: all."
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Type of the stored numbers; they are computed in float32.",
)
@click.option(
    "--batch-images",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Images encoded at once.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Compare the checksums of what is there, and its images; make again what differs.",
)
@json_option
def features(
    spec: str,
    overrides: tuple[str, ...],
    device: str,
    output: str | None,
    splits: tuple[str, ...],
    dtype: str,
    batch_images: int,
    verify: bool,
    as_json: bool,
) -> None:
    """Run the frozen image encoder of SPEC over its data once, and keep the features.

    A spec whose features.root names the store trains on the features instead of the images. Of a
    sweep, every store that its runs name is made. Stopped at any moment, the same command goes on;
    what is finished and whole is kept. A grid is averaged down by features.pool. Several processes,
    each of which writes its own shards: torchrun --nproc-per-node 2 -m hacore features SPEC.

    \b
    Examples:
      hacore features experiments/vqa.toml --output features/resnet101
      hacore features experiments/vqa.toml --set features.pool=[10,10] --splits train --splits val
      hacore run experiments/vqa.toml --set features.root=features/resnet101
      hacore features experiments/vqa_cp/table3.toml
    """
    many = is_sweep(spec, overrides)
    if many:
        if output:
            raise click.UsageError(
                "the stores of a sweep are where its runs look for them; set features.root"
            )
        wanted = _stores(spec, overrides)
    else:
        resolved = load_spec(spec, overrides)
        wanted = [(output or resolved.features.root or os.path.join("features", resolved.name), resolved)]
    # From here on torch is needed.
    from hacore.cli.run import show_log
    from hacore.features.make import make_features

    console = Console(stderr=True)
    show_log(console)
    stores = []
    for root, resolved in wanted:
        shown = _shown(console)
        try:
            made = make_features(
                resolved,
                root,
                splits=splits,
                device=device,
                dtype=dtype,
                batch_images=batch_images,
                verify=verify,
                progress=shown,
            )
        finally:
            shown.close()
        stores.append(_as_json(made))
        if not as_json and (os.environ.get("RANK", "0") == "0" or not made.missing):
            _print(made)
    if as_json:
        print_json(stores if many else stores[0])
    elif not any(it["missing"] for it in stores):
        if many:
            click.echo(f"train on them: hacore sweep {spec}")
        else:
            click.echo(f"train on them: hacore run {spec} --set features.root={wanted[0][0]}")


def _stores(path: str, overrides: tuple[str, ...]) -> list[tuple[str, Spec]]:
    """Folder of each store that a sweep's runs name, and a spec of those runs."""
    found: list[tuple[str, Spec]] = []
    for it in load_sweep(path, overrides).combinations:
        spec, root = it.spec, it.spec.features.root
        if root is None:
            continue
        sharing = [other for known, other in found if known == root]
        if any((it.features, it.image_encoder) != (spec.features, spec.image_encoder) for it in sharing):
            raise HacoreError(
                f"{path}: features.root: '{root}' is named by runs with different image encoders or "
                "features.pool; give each its own store"
            )
        if all(other.data != spec.data for other in sharing):
            found.append((root, spec))
    if not found:
        raise HacoreError(f"{path}: no run of the sweep names a feature store; set features.root")
    return found


def _as_json(made: Made) -> dict[str, Any]:
    return {
        "root": str(made.root),
        "images": made.images,
        "seconds": round(made.seconds, 1),
        "missing": made.missing,
        "description": attrs.asdict(made.description),
    }


def _print(made: Made) -> None:
    it = made.description
    rows = []
    for split, part in it.splits.items():
        shards = list(it.shards(part))
        size = sum(it.shard_bytes(first, last) for _, first, last in shards)
        shared = "" if split == part else f", those of {part}"
        rows.append([split + shared, f"{it.images[part]:,}", f"{len(shards):,}", f"{size / 1e6:,.0f}"])
    grid = "x".join(map(str, it.grid))
    print_table(
        f"{made.root}: {grid} cells of {it.channels} channels, {it.dtype}",
        ["split", "images", "shards", "MB"],
        rows,
    )
    speed = f", {made.images / made.seconds:,.1f} a second" if made.images else ""
    click.echo(f"\nencoded now: {made.images:,} images in {made.seconds:,.1f} s{speed}")
    if made.missing:
        click.echo(
            f"{len(made.missing)} shards are not finished yet, the first is {made.missing[0]}; when no "
            "process is at work on them, run the same command again"
        )


class _Lines:
    """A line every ten seconds, and one at the end of a split."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = time.monotonic()

    def __call__(self, at: Progress) -> None:
        now = time.monotonic()
        if now - self._said >= 10 or at.done == at.total:
            self._said = now
            who = f"process {os.environ['RANK']}: " if "RANK" in os.environ else ""
            text = f"{who}{at.split}: {at.done:,} of {at.total:,} images  {_speed(at)}"
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None: ...


class _Bars:
    """A bar for each split."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("images  {task.fields[speed]}"),
        )
        self._bar = Bar(*columns, console=console)
        self._tasks: dict[str, object] = {}

    def __call__(self, at: Progress) -> None:
        if not self._tasks:
            self._bar.start()
        if at.split not in self._tasks:
            self._tasks[at.split] = self._bar.add_task(at.split, total=at.total, speed="")
        task = self._tasks[at.split]
        self._bar.update(task, completed=at.done, speed=_speed(at))  # type: ignore[arg-type]

    def close(self) -> None:
        self._bar.stop()


def _shown(console: Console) -> _Lines | _Bars:
    return _Bars(console) if console.is_terminal and "RANK" not in os.environ else _Lines(console)


def _speed(at: Progress) -> str:
    left = datetime.timedelta(seconds=round(at.seconds_left))
    return f"{at.images_per_second:,.1f} images/s  {left} left"
