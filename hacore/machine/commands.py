"""Commands of hacore: started as child processes, and written so that they can be pasted."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def child_command(*arguments: str) -> list[str]:
    """Starts ``hacore ARGUMENTS`` in a process of this Python.

    -P: the working folder is not on the import path, where a ``random.py`` of the user's would take the place
    of Python's own. What is on PYTHONPATH stays.
    """
    return [sys.executable, "-P", "-m", "hacore", *arguments]


def pasteable(*words: str | Path) -> str:
    """``hacore run --resume 'my runs/1'``: the words on one line as bash and zsh read them.

    A Path is not taken for an option. In a message it stands at the end, after a colon; quotes around it
    would end at its own.
    """
    return " ".join(_quoted(path_word(word) if isinstance(word, Path) else word) for word in words)


def path_word(path: Path) -> str:
    """A path as an argument of a command; one that begins with a hyphen would be an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    bare = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{''.join(c if c.isprintable() else _escape(c) for c in bare)}'"


def _escape(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a file name that is no text
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
