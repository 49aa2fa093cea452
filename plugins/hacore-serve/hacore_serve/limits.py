"""Limits on requests, and the names by which the server may be called."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import attrs

_MOST_CLIENTS = 10_000  # whose rate is remembered; those unseen for longest are forgotten


class Refused(Exception):
    """A request that is not answered: an HTTP status, and one line for the person who asked.

    retry_after: seconds after which it may be answered.
    """

    def __init__(self, status: int, text: str, *, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.retry_after = retry_after


@attrs.frozen(kw_only=True)
class Limits:
    """upload: bytes of an image file. pixels: of an image, looked at before it is decoded. question:
    characters. rate: requests a second of one client, 0 for any number; it may save up ``burst``.
    at_once: requests in the models. queue: requests that wait for that; wait: seconds that they do, and
    that a client has to send a request.
    """

    upload: int = 10_000_000
    pixels: int = 25_000_000
    question: int = 500
    rate: float = 10.0
    burst: int = 40
    at_once: int = 2
    queue: int = 32
    wait: float = 10.0

    @property
    def body(self) -> int:
        """Bytes of a request: an image in base64, and the rest."""
        return 4 * math.ceil(self.upload / 3) + 8 * self.question + 4096


class Rates:
    """A token bucket for every client."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client: tokens, and when

    def take(self, client: str) -> None:
        """Count a request. Raises Refused (429) when the client has used up what it may."""
        if not self._rate:
            return
        now = self._clock()
        tokens, since = self._clients.pop(client, (float(self._burst), now))
        tokens = min(self._burst, tokens + self._rate * (now - since))
        self._clients[client] = (max(0.0, tokens - 1), now) if tokens >= 1 else (tokens, now)
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        if tokens < 1:
            seconds = math.ceil((1 - tokens) / self._rate)
            unit = "second" if seconds == 1 else "seconds"
            raise Refused(429, f"too many requests; ask again in {seconds} {unit}", retry_after=seconds)


def client_name(address: str) -> str:
    """Whose rate a request counts for: an address, of IPv6 the network of 64 bits that one household has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


class Turns:
    """At most ``at_once`` requests at work, and at most ``queue`` waiting."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(limits.at_once)
        self._inside = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place at work or in the queue. Raises Refused (503) when all are taken."""
        if self._inside >= self._limits.at_once + self._limits.queue:
            raise self._busy()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn at work. Raises Refused (503) when none comes in time."""
        try:
            async with asyncio.timeout(self._limits.wait):
                await self._free.acquire()
        except TimeoutError:
            raise self._busy() from None
        try:
            yield
        finally:
            self._free.release()

    def _busy(self) -> Refused:
        return Refused(503, "the models are busy with other questions; ask again in a moment", retry_after=1)


class Hosts:
    """Names by which this server may be called.

    A page elsewhere can make its own name mean this machine and then talk to it through a visitor's
    browser (DNS rebinding). The browser sends that name as Host, so names that were not given are refused;
    an address is no name, and cannot be made to mean another machine.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}

    def check(self, header: str | None) -> None:
        """Raises Refused (400) for any other name."""
        name = _without_port(header or "").lower().rstrip(".")
        if name in self._names:
            return
        try:
            ipaddress.ip_address(name)
        except ValueError:
            raise Refused(
                400, "this server is not called by that name; start it with --allow-host NAME"
            ) from None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host
