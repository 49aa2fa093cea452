"""``hacore serve``. Loads models and the web framework only when it is called."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import warnings
from typing import TYPE_CHECKING

import click

from hacore.cli.tables import device_option, print_json
from hacore.console import Console, show_log
from hacore.errors import HacoreError
from hacore_serve.limits import Limits

if TYPE_CHECKING:
    from hacore.runs.trained import Trained
    from hacore_serve.examples import Example

_USUAL = Limits()


@click.command(no_args_is_help=True)
@click.argument("runs", nargs=-1, required=True, type=click.Path(), metavar="RUN...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", default=7860, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 for any free one."
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
    with _listen(host, port) as listening:
        models = _load(runs, device)
        offered = _examples(models[0], examples)
        import uvicorn
        from PIL import Image

        from hacore_serve.app import make_app

        # The limit on pixels is this server's own.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        app = make_app(models, examples=offered, limits=limits, hosts=[*names, host])
        _say_where(host, listening.getsockname()[1], len(models), as_json)
        # Without proxy_headers, as anybody could claim another address and so get around the rate.
        config = uvicorn.Config(
            app, log_level="warning", server_header=False, proxy_headers=False, timeout_graceful_shutdown=5
        )
        # After Ctrl-C the server has ended in order; whether it also raises depends on the moment.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
        click.echo("stopped", err=True)


def _listen(host: str, port: int) -> socket.socket:
    """Called before the models are loaded, so that a port in use is reported at once."""
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.create_server(address[:2], family=family, backlog=128)
        # Without this the second part of each answer waits up to 40 ms for the first to be confirmed;
        # asyncio sets it only for sockets of its own.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        way_out = "choose another with --port, or 0 for any free one"
        raise HacoreError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}; {way_out}"
        ) from error


def _load(runs: tuple[str, ...], device: str) -> list[Trained]:
    """The models of the runs. Raises HacoreError with everything that is wrong with them."""
    from hacore.runs.trained import load

    models, problems = [], []
    for run in runs:
        try:
            models.append(load(run, device=device))
        except HacoreError as error:
            problems.append(str(error))
    if problems:
        raise HacoreError("\n".join(problems))
    return models


def _examples(trained: Trained, count: int) -> tuple[Example, ...]:
    """Images to offer; none, and a line that says why, where the data cannot be opened."""
    from hacore_serve.examples import examples_of

    if not count:
        return ()
    # It takes a while where the data are not generated or packed yet.
    click.echo(f"opening the data '{trained.spec.data.use}' for images to offer", err=True)
    try:
        return examples_of(trained, count)
    except (HacoreError, OSError) as error:
        click.echo(f"no images of the data are offered: {error}", err=True)
        return ()


def _say_where(host: str, port: int, runs: int, as_json: bool) -> None:
    shown = f"[{host}]" if ":" in host else host
    if as_json:
        print_json({"url": f"http://{shown}:{port}", "runs": runs})
    what = "1 run" if runs == 1 else f"{runs} runs"
    click.echo(f"serving {what} at http://{shown}:{port} (Ctrl-C ends)", err=True)
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
