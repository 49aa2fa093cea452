"""A large file over HTTP that can be interrupted at any moment and resumed later."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from hacore.errors import DataError

PIECE = 1 << 20
TIMEOUT = 60.0  # seconds without a byte
_PASSING = (408, 429)  # answers below 500 after which to try again
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each further try in a row that brought nothing


@attrs.frozen(kw_only=True)
class Progress:
    """done: bytes on the disk. total: bytes in all, None if the server does not say. rate: bytes a second."""

    done: int
    total: int | None
    rate: float


def fetch(
    url: str,
    part: Path,
    *,
    begin: Callable[[int, int | None], None],
    progress: Callable[[Progress], None],
    sleep: Callable[[float], None] = time.sleep,
    option: str = "--url",
) -> None:
    """Fetches the whole file into ``part``, after the bytes that are there.

    Beside it a file with ``.json`` at the end remembers the address and how the server called this
    content, so that a file that changed at the server is fetched anew and never mixed. option: the option
    that gives another address, for messages. begin: told the bytes there are and the bytes in all, None if
    the server does not say, before any is written; it may raise.
    DataError when the server does not have the file, when it fails again and again, or when nothing can
    be written; what was fetched stays for the next call.
    """
    transfer = _Transfer(url, part, begin, progress)
    failures = 0
    while True:
        before = transfer.received
        try:
            if transfer.go_on():
                return
            error: BaseException | str = "the connection was closed"
        except urllib.error.HTTPError as refused:
            if refused.code < 500 and refused.code not in _PASSING:
                answer = f"the server answers {refused.code} {refused.reason}"
                raise DataError(f"{url}: {answer}; give another address with {option}") from None
            error = refused
        except urllib.error.URLError as lost:
            error = lost.reason
        except (OSError, http.client.HTTPException) as lost:
            error = lost
        failures = 1 if transfer.received > before else failures + 1
        if failures > len(PAUSES):
            raise DataError(
                f"{url}: {error}, {failures} times in a row, after "
                f"{part.stat().st_size if part.exists() else 0:,} bytes; run again to go on from there"
            )
        sleep(PAUSES[failures - 1])


class _Transfer:
    """The state of one file's transfer over several connections."""

    def __init__(
        self,
        url: str,
        part: Path,
        begin: Callable[[int, int | None], None],
        progress: Callable[[Progress], None],
    ) -> None:
        self.received = 0  # bytes, over all connections
        self._url, self._part, self._begin, self._progress = url, part, begin, progress
        self._memory = part.with_name(f"{part.name}.json")
        self._begun = False
        self._started = time.monotonic()

    def go_on(self) -> bool:
        """Receives over one connection what it gives; whether the file is whole now."""
        known = self._remembered()
        have = self._part.stat().st_size if known else 0
        if known and known["total"] == have:
            return True
        headers = {"User-Agent": "hacore", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if known["validator"]:
                headers["If-Range"] = known["validator"]
        try:
            response = urllib.request.urlopen(
                urllib.request.Request(self._url, headers=headers), timeout=TIMEOUT
            )
        except urllib.error.HTTPError as refused:
            if refused.code != 416:
                raise
            self._memory.unlink()  # what is here is longer than the file is now
            return False
        with response:
            start, total = _place(response)
            if start not in (0, have) or (start and total != known["total"]):
                self._memory.unlink()
                return False
            if not self._begun:
                self._begin(start, total)
                self._begun = True
            return self._receive(response, start, total)

    def _remembered(self) -> dict[str, Any]:
        """What is known about the part that is there; nothing if it cannot be resumed."""
        try:
            known = json.loads(self._memory.read_text(encoding="utf-8"))
            if self._part.is_file() and known["url"] == self._url and {"total", "validator"} <= known.keys():
                return dict(known)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        return {}

    def _receive(self, response: Any, start: int, total: int | None) -> bool:
        have = start
        with self._disk():
            self._part.parent.mkdir(parents=True, exist_ok=True)
            self._part.touch()
            file = open(self._part, "r+b", buffering=0)  # noqa: SIM115  # closed below
        with file:
            with self._disk():
                file.truncate(start)
                file.seek(start)
                if not start:
                    known = {"url": self._url, "total": total, "validator": _validator(response)}
                    self._memory.write_text(json.dumps(known), encoding="utf-8")
            while piece := response.read1(PIECE):
                with self._disk():
                    file.write(piece)
                have += len(piece)
                self.received += len(piece)
                rate = self.received / max(time.monotonic() - self._started, 1e-9)
                self._progress(Progress(done=have, total=total, rate=rate))
            with self._disk():
                os.fsync(file.fileno())
        return total is None or have == total

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """What fails here is the disk, not the network."""
        try:
            yield
        except OSError as error:
            cause = error.strerror or error
            raise DataError(
                f"{self._part}: cannot be written ({cause}); make room and run again to go on"
            ) from error


def _place(response: Any) -> tuple[int, int | None]:
    """Where in the file the response begins, and how long the file is, None if that is not said."""
    if response.status == 206:
        unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
        first, total = rest.partition("-")[0], rest.rpartition("/")[2]
        if unit == "bytes" and first.isdecimal() and total.isdecimal():
            return int(first), int(total)
        return -1, None
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _validator(response: Any) -> str:
    """What names this content when asking for the rest of it; a weak ETag may not be used for that."""
    tag: str = response.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return tag
    return str(response.headers.get("Last-Modified", ""))
