"""How fast ``hacore serve`` answers many people at once, and what memory that takes.

    python benchmarks/serve.py runs/han_rn/20260101-120000-abc123
    python benchmarks/serve.py                              # experiments/han_rn_base.toml after a step
    python benchmarks/serve.py --requests 16 --repeats 1    # does the program work?

Each request is an image of its own, a PNG of 480x320 with 32 rectangles, and one of some questions, so it
is decoded, resized, encoded and answered. Three ways to the same answers take turns:

    python    trained.ask of one file after the other, in this process, without a server
    1 client  the server, a process of its own, asked by one client
    clients   the server asked by several clients at once, each on its own connection

Every answer is compared with trained.ask's. Latency is what a client waits for. Memory is resident, of the
server's process, after a first round that is not measured and at the end. Medians of the repeats.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

import hacore
from hacore.runs.trained import Trained

QUESTIONS = ("is the red object on the left?", "what is the shape of the blue object?", "how many?")
SPEC = Path(__file__).resolve().parents[1] / "experiments" / "han_rn_base.toml"


def pictures(count: int) -> list[bytes]:
    """Image files that differ."""
    random = np.random.default_rng(0)
    files = []
    for _ in range(count):
        image = Image.new("RGB", (480, 320), tuple(random.integers(0, 256, 3).tolist()))
        pen = ImageDraw.Draw(image)
        for x, y, width, height, *colour in random.integers(0, 200, (32, 7)).tolist():
            pen.rectangle((2 * x, y, 2 * x + width, y + height), fill=tuple(colour))
        file = io.BytesIO()
        image.save(file, "PNG")
        files.append(file.getvalue())
    return files


def untrained(folder: Path) -> Path:
    """A run folder of the first experiment after one step, on a few images."""
    small = ["data.images=400", "data.held_out=20", "data.validation=20", "train.steps=1"]
    spec = hacore.load_spec(SPEC, [*small, "eval.baseline_steps=0"])
    run_folder, _ = hacore.run(spec, runs=folder, device="cpu", report=False)
    return run_folder.path


@contextmanager
def server(run: Path, at_once: int) -> Iterator[tuple[str, int]]:
    """Its address and its process's number."""
    words = ["-m", "hacore", "serve", run, "--port", "0", "--device", "cpu", "--examples", "0", "--rate", "0"]
    process = subprocess.Popen(
        [sys.executable, *map(str, words), "--at-once", str(at_once)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        match = re.search(r"http://\S+", line)
        if not match:
            raise SystemExit(line + process.stderr.read())
        yield match[0], process.pid
    finally:
        process.terminate()
        process.wait()


def ask_server(address: str, bodies: list[bytes], clients: int) -> tuple[float, list[float], list[str]]:
    """Seconds for all, seconds of each, and the answers."""
    seconds, answers = [0.0] * len(bodies), [""] * len(bodies)
    ready = threading.Barrier(clients + 1)

    def client(first: int) -> None:
        with httpx.Client(base_url=address, timeout=120) as connection:
            connection.get("/api/info")
            ready.wait()
            for row in range(first, len(bodies), clients):
                start = time.perf_counter()
                response = connection.post(
                    "/api/ask", content=bodies[row], headers={"content-type": "application/json"}
                )
                seconds[row] = time.perf_counter() - start
                answers[row] = response.raise_for_status().json()["answers"][0]["answer"]

    threads = [threading.Thread(target=client, args=(first,)) for first in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start, seconds, answers


def ask_python(
    trained: Trained, files: list[bytes], asked: list[str]
) -> tuple[float, list[float], list[str]]:
    """The same without a server."""
    seconds, answers = [], []
    for file, question in zip(files, asked, strict=True):
        start = time.perf_counter()
        answers.append(trained.ask(Image.open(io.BytesIO(file)), question).answer)
        seconds.append(time.perf_counter() - start)
    return sum(seconds), seconds, answers


def resident(process: int) -> float:
    """MB of a process in memory; 0 where the system does not tell."""
    statm = Path(f"/proc/{process}/statm")
    pages = int(statm.read_text(encoding="utf-8").split()[1]) if statm.exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure hacore serve against trained.ask.")
    parser.add_argument("run", nargs="?", type=Path, help="a run folder; default: an untrained model")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--at-once", type=int, default=2, help="as of hacore serve")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    if min(given.requests, given.clients, given.at_once, given.repeats) < 1:
        parser.error("--requests, --clients, --at-once and --repeats must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        run = given.run or untrained(Path(folder))
        trained = hacore.load(run, device="cpu")
        files = pictures(given.requests)
        asked = [QUESTIONS[row % len(QUESTIONS)] for row in range(given.requests)]
        bodies = [
            json.dumps({"question": question, "image": base64.b64encode(file).decode()}).encode()
            for file, question in zip(files, asked, strict=True)
        ]
        several = f"{given.clients} clients"
        took: dict[str, list[tuple[float, list[float]]]] = {"python": [], "1 client": [], several: []}
        with server(run, given.at_once) as (address, process):
            expected = ask_python(trained, files, asked)[2]
            ask_server(address, bodies, given.clients)
            before = resident(process)
            for _ in range(given.repeats):
                for way, timings in took.items():
                    if way == "python":
                        total, each, answers = ask_python(trained, files, asked)
                    else:
                        total, each, answers = ask_server(address, bodies, int(way.split()[0]))
                    assert answers == expected, "answers were mixed"
                    timings.append((total, each))
            after = resident(process)
    figures: dict[str, dict[str, Any]] = {
        way: {
            "requests_per_second": given.requests / statistics.median(total for total, _ in timings),
            "p50_ms": 1000 * statistics.median(float(np.quantile(each, 0.5)) for _, each in timings),
            "p95_ms": 1000 * statistics.median(float(np.quantile(each, 0.95)) for _, each in timings),
        }
        for way, timings in took.items()
    }
    title = (
        f"{given.requests} requests about {trained.spec.name}, --at-once {given.at_once}, "
        f"{torch.get_num_threads()} thread(s); {platform.machine()}, torch {torch.__version__}"
    )
    table = Table(title=title)
    for column in ("way", "requests/s", "p50, ms", "p95, ms"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for way, row in figures.items():
        table.add_row(way, *(f"{value:.1f}" for value in row.values()))
    console = Console()
    console.print(table)
    console.print(f"resident memory of the server: {before:.0f} MB before, {after:.0f} MB after")
    if given.json:
        memory = {"before_mb": before, "after_mb": after}
        given.json.write_text(
            json.dumps({"title": title, "figures": figures, "memory": memory}, indent=2) + "\n"
        )


if __name__ == "__main__":
    sys.exit(main())
