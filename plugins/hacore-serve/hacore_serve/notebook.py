"""The page inside a notebook."""

from __future__ import annotations

import html
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from hacore_serve.serving import listen, load_runs, make_server, offered_examples

# Notebooks in a browser on this machine, and those of Visual Studio Code.
_NOTEBOOKS = ("http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*", "vscode-webview:")
_pages: dict[tuple[str, ...], NotebookPage] = {}


class NotebookPage:
    """A served page, which a notebook shows as a frame. address: of its server, which runs until ``stop``."""

    def __init__(self, server: uvicorn.Server, listening: socket.socket, height: int) -> None:
        self._server, self._listening = server, listening
        self.height = height
        self.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the server still runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop the server; the frame stays empty from then on."""
        self._server.should_exit = True
        self._thread.join()
        self._listening.close()

    def _repr_html_(self) -> str:
        address = html.escape(self.address)
        return (
            f'<iframe src="{address}" title="hacore: ask about an image" width="100%" '
            f'height="{self.height}" style="border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<page of hacore serve at {self.address}{'' if self.running else ', stopped'}>"


def show(
    runs: str | Path | Sequence[str | Path],
    *,
    height: int = 760,
    examples: int = 8,
    device: str = "auto",
    port: int = 0,
) -> NotebookPage:
    """The page of ``hacore serve`` for one run folder or several, as the value of a notebook's cell.

    height: of the frame, in pixels. examples: images of the first run's data to offer. port: 0 for any free
    one. Only this machine can reach the server. It runs in this process until ``stop`` or the end of the
    process; for the same runs the one that runs already is shown. Raises HacoreError with everything that is
    wrong with the runs.
    """
    paths = [runs] if isinstance(runs, (str, Path)) else list(runs)
    key = tuple(str(Path(path).resolve()) for path in paths)
    if (page := _pages.get(key)) is not None and page.running:
        page.height = height
        return page
    listening = listen("127.0.0.1", port)
    try:
        models = load_runs(paths, device)
        server = make_server(models, offered_examples(models[0], examples), framed_by=_NOTEBOOKS)
    except BaseException:
        listening.close()
        raise
    _pages[key] = NotebookPage(server, listening, height)
    return _pages[key]
