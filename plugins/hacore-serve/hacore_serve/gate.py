"""What every request passes before the application sees it, and what every answer gets on its way out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hacore_serve.limits import Hosts, Limits, Rates, Refused, Turns, client_name

# Everything comes from this server, and nothing is embedded or sent elsewhere; ``frame-ancestors`` is added.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors "
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class Gate:
    """Checks the name of the host, rate and size, reads the body within limits, adds headers.

    framed_by: the origins that may show the page in a frame.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, hosts: Hosts, turns: Turns, framed_by: Sequence[str] = ()
    ) -> None:
        self._app, self._limits, self._hosts, self._turns = app, limits, hosts, turns
        headers = dict(_HEADERS)
        headers["content-security-policy"] += " ".join(framed_by) or "'none'"
        if not framed_by:  # for browsers that do not know frame-ancestors
            headers["x-frame-options"] = "DENY"
        self._added = [(key.encode(), value.encode()) for key, value in headers.items()]
        self._rates = Rates(limits.rate, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *self._added]}
            await send(message)

        try:
            headers = {
                key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]
            }
            self._hosts.check(headers.get("host"))
            if scope["method"] in ("GET", "HEAD"):
                await self._app(scope, _nothing, guarded)
                return
            self._rates.take(client_name((scope.get("client") or ("unknown", 0))[0]))
            self._check_head(headers)
            async with self._turns.place():
                body = await self._read(receive)
                await self._app(scope, _once(body), guarded)
        except Refused as refused:
            await send_refusal(refused, guarded)

    def _check_head(self, headers: dict[str, str]) -> None:
        # A page elsewhere cannot send this type without asking first, and is not allowed to.
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(415, f"a request is JSON, found {kind[:60] or 'no content type'}")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._limits.body:
            raise self._too_large()

    async def _read(self, receive: Receive) -> bytes:
        """The body, not a byte more than the limit, within the time that a client has."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.wait):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "the request ended before it was complete")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self._limits.body:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise Refused(
                408, f"the request took more than {self._limits.wait:g} seconds to arrive"
            ) from None

    def _too_large(self) -> Refused:
        return Refused(
            413, f"the image file is too large; at most {self._limits.upload / 1e6:g} MB are taken"
        )


async def send_refusal(refused: Refused, send: Send) -> None:
    """Answer a refused request with one line in JSON."""
    body = json.dumps({"error": refused.text}, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.retry_after is not None:
        headers.append((b"retry-after", str(refused.retry_after).encode()))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _once(body: bytes) -> Receive:
    """Gives the body once, and then nothing, however long the application waits."""
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            await asyncio.Event().wait()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
