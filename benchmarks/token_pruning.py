"""What it saves to drop tokens of a vision transformer in the middle, by a selector without weights.

    python benchmarks/token_pruning.py            # a small ViT, 1 and 32 images, 1 and 2 threads; minutes
    python benchmarks/token_pruning.py --model vit_base_patch16_224 --after 6 --share 0.1
    python benchmarks/token_pruning.py --device cuda --threads 1
    python benchmarks/token_pruning.py --quick    # a tiny ViT: does the program work?

After the first ``--after`` blocks ``hacore.select`` keeps a share of the tokens of the patches, and the other
blocks see these and the class token. Weights and images are random: time depends on neither, and accuracy
is not measured. Before anything is timed, each selector keeps all tokens, which must give the logits of the
network without it.

The network and a pruned copy, which shares its weights, are timed one right after the other, in turns one or
the other first. A ratio is that of the two times of one pair, so that what else the machine does falls on
both; median and quartiles over the pairs. Processor time is of all threads of the process; with more than
one, those that wait count, so it is for one thread. ``select`` is the part of the pruned network's processor
time that the choice itself takes, measured apart.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import timm
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import hacore
from hacore.machine.device import device_name

HERE = Path(__file__).resolve().parent
SELECTORS = ("l2-topk", "diverse-k", "random-k")
Spent = tuple[float, float]
"""Seconds on the clock, and of the processor."""


class Prune(nn.Module):
    """Tokens (B, P + N, C) -> (B, P + K, C): the first P, as that of the class, and what a selector keeps."""

    def __init__(self, prefix: int, use: str, **options: Any) -> None:
        super().__init__()
        self.prefix, self.use, self.options = prefix, use, options

    def forward(self, tokens: Tensor) -> Tensor:
        first, patches = tokens[:, : self.prefix], tokens[:, self.prefix :]
        kept = hacore.select(patches, use=self.use, **self.options)
        return torch.cat([first, kept.features_QKC], 1)


def pruned(network: Any, after: int, use: str, **options: Any) -> Any:
    """The network, its weights shared, with a ``Prune`` after its first blocks."""
    other = copy.copy(network)
    other._modules = dict(network._modules)
    blocks = list(network.blocks)
    prune = Prune(network.num_prefix_tokens, use, **options)
    other.blocks = nn.Sequential(*blocks[:after], prune, *blocks[after:])
    return other


def compare(network: Any, after: int, images: Tensor, console: Console) -> None:
    """All tokens kept, in whatever order, must give the same logits."""
    expected = network(images)
    for use in SELECTORS:
        apart = float((pruned(network, after, use, fraction=1.0)(images) - expected).abs().max())
        apart /= float(expected.abs().max())
        console.print(f"{use}, all tokens kept: logits differ by at most {apart:.1e} of the largest")
        if not apart < 1e-4:
            raise SystemExit(f"{use}: the network with it is another one; its times would mean nothing")


def multiply_adds(network: Any, images: Tensor) -> int:
    """Of matrix products and convolutions in one forward pass."""
    with FlopCounterMode(display=False) as counter:
        network(images)
    return counter.get_total_flops() // 2


def spent(work: Callable[[], object], device: torch.device) -> Spent:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - clock, time.process_time() - processor


def milliseconds(times: list[Spent], which: int = 0) -> float:
    """The median, on the clock (0) or of the processor (1)."""
    return round(1e3 * statistics.median(one[which] for one in times), 3)


def ratios(whole: list[Spent], other: list[Spent], which: int) -> list[float]:
    """Lower quartile, median and upper quartile of whole / other, by round."""
    by_round = [one[which] / two[which] for one, two in zip(whole, other, strict=True)]
    return [round(value, 3) for value in statistics.quantiles(by_round, n=4, method="inclusive")]


def measure(network: Any, batch: int, threads: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each selector and share."""
    torch.set_num_threads(threads)
    device = torch.device(options.device)
    images = torch.randn(batch, *network.pretrained_cfg["input_size"], device=device)
    tokens = torch.randn(batch, network.patch_embed.num_patches, network.embed_dim, device=device)
    ways = list(product(SELECTORS, options.share))
    networks = {(use, share): pruned(network, options.after, use, fraction=share) for use, share in ways}
    whole: dict[Any, list[Spent]] = {way: [] for way in ways}
    few: dict[Any, list[Spent]] = {way: [] for way in ways}
    choice: dict[Any, list[Spent]] = {way: [] for way in ways}
    network(images)  # warms up
    for way in ways:
        networks[way](images)
    for turn, way in product(range(options.repeats), ways):
        if turn >= 2 and sum(one[1] for one in whole[way] + few[way]) > options.seconds:
            continue
        pair = [(whole, network), (few, networks[way])]
        for times, model in pair if turn % 2 else reversed(pair):
            times[way].append(spent(partial(model, images), device))
        choose = partial(hacore.select, tokens, use=way[0], fraction=way[1])
        choice[way].append(spent(choose, device))
    products = multiply_adds(network, images[:1])
    return [
        {
            "batch": batch,
            "threads": threads,
            "selector": use,
            "share": share,
            "pairs": len(few[use, share]),
            "whole_ms": milliseconds(whole[use, share]),
            "pruned_ms": milliseconds(few[use, share]),
            "faster": ratios(whole[use, share], few[use, share], 0),
            "faster_processor": ratios(whole[use, share], few[use, share], 1),
            "arithmetic": round(products / multiply_adds(networks[use, share], images[:1]), 3),
            "select": round(milliseconds(choice[use, share], 1) / milliseconds(few[use, share], 1), 4),
        }
        for use, share in ways
    ]


def show(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table(title="how many times faster than the whole network: median (quartiles)", box=None)
    heads = ("images", "threads", "selector", "tokens", "whole ms", "pruned ms", "clock", "processor")
    for column in (*heads, "arithmetic", "select"):
        table.add_column(column, justify="left" if column == "selector" else "right")
    for row in rows:
        faster = [
            f"{median:.2f} ({low:.2f} to {high:.2f})"
            for low, median, high in (row["faster"], row["faster_processor"])
        ]
        table.add_row(
            *(str(row["batch"]), str(row["threads"]), row["selector"], f"{row['share']:.0%}"),
            *(f"{row['whole_ms']:.1f}", f"{row['pruned_ms']:.1f}", *faster),
            *(f"{row['arithmetic']:.2f}", f"{row['select']:.1%}"),
        )
    console.print(table)


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--model", default="vit_small_patch16_224", help="of timm (default: %(default)s)")
    parser.add_argument("--after", type=int, default=3, help="blocks that see all (default: %(default)s)")
    parser.add_argument("--share", type=float, nargs="+", default=[0.25, 0.5], help="of tokens that are kept")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32], help="images at a time")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=9, help="pairs (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60, help="of the processor, after which two pairs do (%(default)s)"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="a tiny network, two pairs")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "token_pruning.json")
    options = parser.parse_args()
    if options.quick:
        options.model, options.after, options.repeats = "test_vit", 1, 2
        options.batch, options.threads = [1, 2], [1]
    console, device = Console(width=140), torch.device(options.device)
    torch.manual_seed(0)
    network = timm.create_model(options.model).eval().to(device)
    with torch.no_grad():
        images = torch.randn(2, *network.pretrained_cfg["input_size"], device=device)
        compare(network, options.after, images, console)
        rows: list[dict[str, Any]] = []
        for batch, threads in product(options.batch, options.threads):
            rows += measure(network, batch, threads, options)
            write(rows, network, options)
    show(rows, console)


def write(rows: list[dict[str, Any]], network: Any, options: argparse.Namespace) -> None:
    """The record, after each size of batch, as a long measurement may be stopped."""
    report = {
        "what": f"{options.model}, float32, pruned after {options.after} of its {len(network.blocks)} blocks",
        "device": device_name(torch.device(options.device)),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "command": " ".join(["python", "benchmarks/token_pruning.py", *sys.argv[1:]]),
        "rows": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
