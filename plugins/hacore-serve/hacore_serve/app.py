"""The application: a page, what it needs to know, and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
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
from hacore_serve.served import Served, served
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
) -> ASGIApp:
    """The application, as ASGI servers run it, for trained models; nothing of a request outlives it.

    examples: see ``hacore_serve.examples.examples_of``. hosts: names, besides localhost and addresses,
    by which it may be called.
    """
    limits = limits or Limits()
    models = served(runs)
    told = [it.as_dict() for it in models]
    turns = Turns(limits)
    # Its own threads, so that as many are at work as may be.
    workers = ThreadPoolExecutor(limits.at_once, thread_name_prefix="hacore-serve")
    # No pages of documentation: they would fetch scripts from elsewhere.
    app = FastAPI(title="hacore serve", docs_url=None, redoc_url=None, openapi_url=None)

    async def work(function: Callable[[], T]) -> T:
        async with turns.turn():
            return await asyncio.get_running_loop().run_in_executor(workers, function)

    def picture(shown: Shown) -> Image.Image:
        if (shown.image is None) == (shown.example is None):
            raise Refused(422, "give an image or the number of an example")
        if shown.image is not None:
            return open_upload(shown.image, limits)
        return _numbered(examples, shown.example, "example").picture

    _add_page(app)

    @app.get("/api/info")
    def info() -> dict[str, Any]:
        return {
            "runs": told,
            "examples": [
                {"questions": [{"question": text, "answer": answer} for text, answer in it.questions]}
                for it in examples
            ],
            "limits": {
                "upload": limits.upload,
                "pixels": limits.pixels,
                "question": limits.question,
            },
        }

    @app.get("/api/examples/{number}.png")
    def example(number: int) -> Response:
        return Response(_numbered(examples, number, "example").png, media_type="image/png")

    @app.post("/api/picture")
    async def preview(shown: Shown) -> Response:
        """The image as the models see it, but for its size: a PNG."""
        return Response(await work(lambda: as_png(picture(shown))), media_type="image/png")

    @app.post("/api/ask")
    async def ask(asked: Asked) -> dict[str, Any]:
        model = _numbered(models, asked.run, "run")
        if len(asked.question) > limits.question:
            raise Refused(
                422,
                f"the question has {len(asked.question):,} characters; "
                f"at most {limits.question:,} are taken, shorten it",
            )
        return await work(lambda: _answer(model, picture(asked), asked))

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        headers = None if error.retry_after is None else {"retry-after": str(error.retry_after)}
        return JSONResponse({"error": error.text}, error.status, headers)

    @app.exception_handler(HacoreError)
    async def mistaken(_: Request, error: HacoreError) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"error": _malformed(error)}, 422)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        text = {404: "there is no such page", 405: "that page does not take such requests"}
        said = text.get(error.status_code, str(error.detail))
        return JSONResponse({"error": said}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        said = "something went wrong here; the terminal of 'hacore serve' says what"
        return JSONResponse({"error": said}, 500)

    return Gate(app, limits, Hosts(hosts), turns)


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


def _numbered(held: Sequence[T], number: int | None, what: str) -> T:
    if number is None or not 0 <= number < len(held):
        raise Refused(404, f"{what}: found {number}; there are {len(held)}, counted from 0")
    return held[number]


def _malformed(error: RequestValidationError) -> str:
    """The first thing that is wrong with a request; its content is not repeated."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return "the request is not valid JSON"
    place = ".".join(str(it) for it in first["loc"][1:])
    return (
        f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        if place
        else "the request is not as it must be"
    )
