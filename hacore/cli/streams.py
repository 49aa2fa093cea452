"""Standard input, output and error as they come: of any encoding, full, closed, or with nobody at the end.

What is printed on standard error (progress, notes, errors) may be lost, as a training is worth more than its
progress line. What is printed on standard output is the result of a command: if it cannot be written, the
command has failed.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any


def prepare_streams() -> None:
    """Before anything is printed: characters that an encoding lacks become escapes, and errors are lost."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the next file that is opened would get this number, and what is printed
            os.open(os.devnull, os.O_RDWR)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if os.name == "posix":
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
            sys.stdout = _over(sys.stdout, lossy=False)
        if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
            sys.stderr = _over(sys.stderr, lossy=True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            utf8 = stream.encoding.lower().replace("-", "") == "utf8"
            if stream.errors == "strict" or (stream.errors == "surrogateescape" and not utf8):
                stream.reconfigure(errors="backslashreplace")


def can_show(text: str) -> bool:
    """Whether standard output has all characters of the text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def output_failed() -> bool:
    """Whether something that was printed could not be written, as on a full disk."""
    return isinstance(sys.stdout, io.TextIOWrapper) and getattr(sys.stdout.buffer.raw, "failed", False)


def drop_output() -> None:
    """The interpreter would complain again while it flushes standard output at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Output(io.FileIO):
    """A terminal that may be gone, or a file that may be full.

    Remembers that it failed, as what was written is gone from the buffers above it. lossy: without an error.
    """

    failed = lossy = False

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            self.failed = True
            if not self.lossy:
                raise
            return memoryview(data).nbytes


def _over(stream: io.TextIOWrapper, *, lossy: bool) -> io.TextIOWrapper:
    """A stream as the given one, which writes by an ``_Output``."""
    file = _Output(stream.fileno(), "w", closefd=False)
    file.lossy = lossy
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
