"""``hacore serve``. Loads models and the web framework only when it is called."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
import threading
import webbrowser

import click

from hacore.cli.tables import device_option, print_json
from hacore.console import Console, show_log
from hacore_serve.limits import Limits
from hacore_serve.serving import listen, load_runs, make_server, offered_examples

_USUAL = Limits()


@click.command(no_args_is_help=True)
@click.argument("runs", nargs=-1, required=True, type=click.Path(), metavar="RUN...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", default=7860, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 for any free one."
)
@click.option(
    "--open/--no-open",
    "open_browser",
    default=True,
    show_default=True,
    help="Open the page in the browser, where this machine has a display.",
)
@device_option
@click.option(
    "--examples",
    default=8,
    show_default=True,
    type=click.IntRange(0, 100),
    help="Images of the first run's data to offer; 0 does not open the data.",
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="A name, besides localhost and addresses, by which browsers may call the page. May be repeated.",
)
@click.option(
    "--upload",
    default=_USUAL.upload / 1e6,
    show_default=True,
    type=click.FloatRange(0.01, 1000),
    help="Largest image file, in MB.",
)
@click.option(
    "--pixels",
    default=_USUAL.pixels / 1e6,
    show_default=True,
    type=click.FloatRange(0.001, 150),
    help="Largest image, in millions of pixels.",
)
@click.option(
    "--question",
    default=_USUAL.question,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Longest question, in characters.",
)
@click.option(
    "--rate",
    default=_USUAL.rate,
    show_default=True,
    type=click.FloatRange(0),
    help="Requests a second of one client; 0 for any number.",
)
@click.option(
    "--at-once",
    default=_USUAL.at_once,
    show_default=True,
    type=click.IntRange(1),
    help="Requests in the models at once.",
)
@click.option(
    "--queue", default=_USUAL.queue, show_default=True, type=click.IntRange(0), help="Requests that may wait."
)
@click.option(
    "--wait",
    default=_USUAL.wait,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds that a request may wait.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the address as JSON too, before the first request."
)
def serve(
    runs: tuple[str, ...],
    host: str,
    port: int,
    open_browser: bool,
    device: str,
    examples: int,
    names: tuple[str, ...],
    upload: float,
    pixels: float,
    question: int,
    rate: float,
    at_once: int,
    queue: int,
    wait: float,
    as_json: bool,
) -> None:
    """Open a web page that asks the trained models of the run folders RUN... about images.

    Choose, drop or paste an image, type a question, and see the likeliest answers and the cells that each
    model kept; change k or AdaHAN's threshold and watch both change. Only this machine can reach the page,
    unless --host says otherwise. Uploaded images are never written to a disk. Ctrl-C ends.

    \b
    Examples:
      hacore serve runs/han_rn
      hacore serve runs/han_rn runs/adahan_rn --port 8000
      hacore serve runs/han_rn/20260101-120000-abc123 --host 0.0.0.0 --allow-host lab.example.org
    """
    limits = Limits(
        upload=int(upload * 1e6),
        pixels=int(pixels * 1e6),
        question=question,
        rate=rate,
        burst=max(1, round(4 * rate)),
        at_once=at_once,
        queue=queue,
        wait=wait,
    )
    show_log(Console())
    with listen(host, port) as listening:
        models = load_runs(runs, device)
        offered = offered_examples(models[0], examples)
        server = make_server(models, offered, limits=limits, hosts=[*names, host])
        address = _address(host, listening.getsockname()[1])
        _say_where(host, address, len(models), as_json)
        if open_browser and _seen():
            # The socket listens already. A thread, as some browsers end the call only when they are closed.
            threading.Thread(target=_open, args=[address], daemon=True).start()
        # After Ctrl-C the server has ended in order; whether it also raises depends on the moment.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
        click.echo("stopped", err=True)


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _seen() -> bool:
    """Whether somebody sits at this machine: a terminal, a display, and no test or connection from afar."""
    if not sys.stderr.isatty() or "PYTEST_CURRENT_TEST" in os.environ or "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def _open(address: str) -> None:
    """Open the page in the browser; where there is none, the address is on the terminal."""
    for everywhere, here in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        address = address.replace(everywhere, here)
    with contextlib.suppress(webbrowser.Error):
        webbrowser.open(address)


def _say_where(host: str, address: str, runs: int, as_json: bool) -> None:
    if as_json:
        print_json({"url": address, "runs": runs})
    what = "1 run" if runs == 1 else f"{runs} runs"
    click.echo(f"serving {what} at {address} (Ctrl-C ends)", err=True)
    if not _local(host):
        click.echo(
            f"warning: others who reach this machine at {host} can use the page; it has no password and no "
            "encryption",
            err=True,
        )


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
