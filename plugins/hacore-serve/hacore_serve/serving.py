"""What the command and the notebook have in common: a socket, the models, examples and the server."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hacore.errors import HacoreError
from hacore_serve.limits import Limits

if TYPE_CHECKING:
    import uvicorn

    from hacore.runs.trained import Trained
    from hacore_serve.examples import Example


def listen(host: str, port: int) -> socket.socket:
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


def load_runs(runs: Sequence[str | Path], device: str) -> list[Trained]:
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


def offered_examples(trained: Trained, count: int) -> tuple[Example, ...]:
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


def make_server(
    models: Sequence[Trained],
    examples: Sequence[Example],
    *,
    limits: Limits | None = None,
    hosts: Iterable[str] = (),
    framed_by: Sequence[str] = (),
) -> uvicorn.Server:
    """A server of the page, see ``hacore_serve.app.make_app``; its ``run`` takes the sockets."""
    import uvicorn
    from PIL import Image

    from hacore_serve.app import make_app

    # The limit on pixels is this server's own.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    app = make_app(models, examples=examples, limits=limits, hosts=hosts, framed_by=framed_by)
    # Without proxy_headers, as anybody could claim another address and so get around the rate.
    config = uvicorn.Config(
        app, log_level="warning", server_header=False, proxy_headers=False, timeout_graceful_shutdown=5
    )
    return uvicorn.Server(config)
