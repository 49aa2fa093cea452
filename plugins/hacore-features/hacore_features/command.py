"""``hacore features``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from hacore.cli.tables import device_option, json_option, print_json, print_table, set_option
from hacore.errors import HacoreError
from hacore.machine.commands import pasteable
from hacore.spec import Spec, is_sweep, load_spec, load_sweep
from hacore_features.shards import file_bytes

if TYPE_CHECKING:
    from hacore_features.make import Made


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
    help="Compare the checksums of what is there, and its images; remake what differs.",
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

    A spec whose features.root names the store trains on the features instead of the images. For a
    sweep, this makes every store that its runs name. After an interruption, the same command resumes;
    what is finished and whole is kept. features.pool averages a grid down. Several processes, each of
    which writes its own shards: torchrun --nproc-per-node 2 -m hacore features SPEC.

    \b
    Examples:
      hacore features experiments/vqa.toml --output features/resnet101
      hacore features experiments/vqa.toml --set features.pool=[10,10] --splits train --splits val
      hacore run experiments/vqa.toml --set features.root=features/resnet101
      hacore features experiments/vqa_cp/table3.toml
    """
    whole_sweep = is_sweep(spec, overrides)
    if whole_sweep and output:
        raise click.UsageError("the stores of a sweep are where its runs look for them; set features.root")
    wanted = _stores(spec, overrides) if whole_sweep else [_store(load_spec(spec, overrides), output)]
    # From here on torch is needed.
    from hacore_features.make import make_features

    stores = []
    for root, resolved in wanted:
        store = make_features(
            *(resolved, root),
            splits=splits,
            device=device,
            dtype=dtype,
            batch_images=batch_images,
            verify=verify,
        )
        stores.append(store)
        if not as_json and (os.environ.get("RANK", "0") == "0" or not store.missing):
            _print(store)
    if as_json:
        tables = [_as_json(store) for store in stores]
        print_json(tables if whole_sweep else tables[0])
    elif not any(store.missing for store in stores):
        click.echo(f"train on them: {_use_of(spec, overrides, None if whole_sweep else wanted[0][0])}")


def _use_of(spec: str, overrides: tuple[str, ...], root: str | None) -> str:
    """The command that trains on the features, with all that was set, as others would not fit; root: of the
    store, None for those of a sweep."""
    changes = list(overrides)
    if root is not None:
        changes = [words for words in overrides if words.partition("=")[0].strip() != "features.root"]
        changes.append(f"features.root={root}")
    flags = [word for words in changes for word in ("--set", words)]
    return pasteable("hacore", "sweep" if root is None else "run", Path(spec), *flags)


def _store(spec: Spec, output: str | None) -> tuple[str, Spec]:
    """Folder of the store of one spec, and the spec."""
    return output or spec.features.root or os.path.join("features", spec.name), spec


def _stores(path: str, overrides: tuple[str, ...]) -> list[tuple[str, Spec]]:
    """Folder of each store that a sweep's runs name, and a spec of those runs."""
    stores: list[tuple[str, Spec]] = []
    for combination in load_sweep(path, overrides).combinations:
        spec, root = combination.spec, combination.spec.features.root
        if root is None:
            continue
        sharing = [other for known, other in stores if known == root]
        made_from = (spec.features, spec.image_encoder)
        if any((other.features, other.image_encoder) != made_from for other in sharing):
            raise HacoreError(
                f"{path}: features.root: '{root}' is named by runs with different image encoders or "
                "features.pool; give each its own store"
            )
        if all(other.data != spec.data for other in sharing):
            stores.append((root, spec))
    if not stores:
        raise HacoreError(f"{path}: no run of the sweep names a feature store; set features.root")
    return stores


def _as_json(store: Made) -> dict[str, Any]:
    return {
        "root": str(store.root),
        "images": store.images,
        "seconds": round(store.seconds, 1),
        "missing": store.missing,
        "description": attrs.asdict(store.description),
    }


def _print(store: Made) -> None:
    description = store.description
    rows = []
    for split, part in description.splits.items():
        shards = list(description.shards(part))
        size = sum(file_bytes(description, first, last) for _, first, last in shards)
        shared = "" if split == part else f", those of {part}"
        rows.append(
            [split + shared, f"{description.images[part]:,}", f"{len(shards):,}", f"{size / 1e6:,.0f}"]
        )
    grid = "x".join(map(str, description.grid))
    print_table(
        f"{store.root}: {grid} cells of {description.channels} channels, {description.dtype}",
        ["split", "images", "shards", "MB"],
        rows,
    )
    speed = f", {store.images / store.seconds:,.1f} a second" if store.images else ""
    click.echo(f"\nencoded now: {store.images:,} images in {store.seconds:,.1f} s{speed}")
    if store.missing:
        click.echo(
            f"{len(store.missing)} shards are not finished yet, the first is {store.missing[0]}; when no "
            "process is at work on them, run the same command again"
        )
