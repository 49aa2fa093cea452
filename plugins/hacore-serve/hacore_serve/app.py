"""The application: a page, what it needs to know, and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from typing import Any, TypeVar

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from hacore.errors import HacoreError
from hacore.runs.trained import Trained
from hacore_serve.examples import Example
from hacore_serve.gate import Gate
from hacore_serve.limits import Hosts, Limits, Refused, Turns
from hacore_serve.served import Served, serve_runs
from hacore_serve.uploads import as_png, open_upload

T = TypeVar("T")
_TOP = 5
_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/panel.js": ("panel.js", "text/javascript; charset=utf-8"),
    "/draw.js": ("draw.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Shown(BaseModel):
    """An image: a file in base64, or the number of an example."""

    model_config = ConfigDict(extra="forbid", strict=True)
    image: str | None = None
    example: int | None = None


class Asked(Shown):
    """A question about an image. run: number of the run. value: of the run's slider, None as trained."""

    question: str
    run: int = 0
    value: float | None = None


def make_app(
    runs: Sequence[Trained],
    *,
    examples: Sequence[Example] = (),
    limits: Limits | None = None,
    hosts: Iterable[str] = (),
    framed_by: Sequence[str] = (),
) -> ASGIApp:
    """The application, as ASGI servers run it, for trained models; nothing of a request outlives it.

    examples: see ``hacore_serve.examples.examples_of``. hosts: names, besides localhost and addresses,
    by which it may be called. framed_by: origins, as a Content-Security-Policy writes them, of pages that may
    show this one in a frame.
    """
    limits = limits or Limits()
    turns = Turns(limits)
    # No pages of documentation: they would fetch scripts from elsewhere.
    app = FastAPI(title="hacore serve", docs_url=None, redoc_url=None, openapi_url=None)
    _add_page(app)
    api = _Api(serve_runs(runs), examples, limits, turns)
    app.add_api_route("/api/info", api.info, methods=["GET"])
    app.add_api_route("/api/examples/{number}.png", api.example, methods=["GET"])
    app.add_api_route("/api/picture", api.preview, methods=["POST"])
    app.add_api_route("/api/ask", api.ask, methods=["POST"])
    _add_errors(app)
    return Gate(app, limits, Hosts(hosts), turns, framed_by)


class _Api:
    """The routes under /api/."""

    def __init__(
        self, models: Sequence[Served], examples: Sequence[Example], limits: Limits, turns: Turns
    ) -> None:
        self._models, self._examples, self._limits, self._turns = models, examples, limits, turns
        self._runs = [model.as_dict() for model in models]
        # Its own threads, so that exactly as many are at work as may be.
        self._workers = ThreadPoolExecutor(limits.at_once, thread_name_prefix="hacore-serve")

    def info(self) -> dict[str, Any]:
        """What the page needs to know."""
        limits = self._limits
        return {
            "runs": self._runs,
            "examples": [
                {"questions": [{"question": text, "answer": answer} for text, answer in example.questions]}
                for example in self._examples
            ],
            "limits": {"upload": limits.upload, "pixels": limits.pixels, "question": limits.question},
        }

    def example(self, number: int) -> Response:
        """The picture of an example, a PNG."""
        return Response(_numbered(self._examples, number, "example").png, media_type="image/png")

    async def preview(self, shown: Shown) -> Response:
        """The image as the models see it, except for its size: a PNG."""
        return Response(await self._work(lambda: as_png(self._picture(shown))), media_type="image/png")

    async def ask(self, asked: Asked) -> dict[str, Any]:
        """The answer of a run to a question."""
        model, length = _numbered(self._models, asked.run, "run"), len(asked.question)
        if length > self._limits.question:
            raise Refused(
                422,
                f"the question has {length:,} characters; "
                f"at most {self._limits.question:,} are taken, shorten it",
            )
        return await self._work(lambda: _answer(model, self._picture(asked), asked))

    async def _work(self, function: Callable[[], T]) -> T:
        async with self._turns.turn():
            return await asyncio.get_running_loop().run_in_executor(self._workers, function)

    def _picture(self, shown: Shown) -> Image.Image:
        if (shown.image is None) == (shown.example is None):
            raise Refused(422, "give an image or the number of an example")
        if shown.image is not None:
            return open_upload(shown.image, self._limits)
        return _numbered(self._examples, shown.example, "example").picture


def _add_errors(app: FastAPI) -> None:
    """Every error is one line of JSON."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        headers = None if error.retry_after is None else {"retry-after": str(error.retry_after)}
        return _error(error.text, error.status, headers)

    @app.exception_handler(HacoreError)
    async def mistaken(_: Request, error: HacoreError) -> Response:
        return _error(str(error), 422)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        return _error(_first_problem(error), 422)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        texts = {404: "there is no such page", 405: "that page does not take such requests"}
        return _error(texts.get(error.status_code, str(error.detail)), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        return _error("something went wrong here; the terminal of 'hacore serve' says what", 500)


def _error(text: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": text}, status, headers)


def _add_page(app: FastAPI) -> None:
    """The files of the page, read once: nothing that a client sends is ever the name of a file."""
    for path, (name, kind) in _PAGE.items():
        content = files("hacore_serve").joinpath("page", name).read_bytes()
        app.add_route(path, partial(_file, content, kind))


async def _file(content: bytes, kind: str, request: Request) -> Response:
    return Response(content, media_type=kind)


def _answer(model: Served, picture: Image.Image, asked: Asked) -> dict[str, Any]:
    reply = model.ask(picture, asked.question, asked.value, _TOP)
    return {
        **reply.as_dict(),
        "presence": np.round(reply.seen.presence, 5).tolist(),
        "brightness": np.round(reply.seen.brightness, 4).tolist(),
        "run": asked.run,
        "value": asked.value,
    }


def _numbered(items: Sequence[T], number: int | None, name: str) -> T:
    if number is None or not 0 <= number < len(items):
        raise Refused(404, f"{name}: found {number}; there are {len(items)}, counted from 0")
    return items[number]


def _first_problem(error: RequestValidationError) -> str:
    """The first problem of a request, without its content."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return "the request is not valid JSON"
    place = ".".join(map(str, first["loc"][1:]))
    return (
        f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        if place
        else "the request must be a JSON object"
    )
