"""Ways to damage a file, each a function of a random generator and what the file holds."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

ODD_JSON = (
    *("NaN", "Infinity", "1e308", "1e999", "-1", "0", "9223372036854775808", "1" + "0" * 400, "true"),
    *(
        "null",
        '"text"',
        '""',
        '"\\ud800"',
        '"a\\nb"',
        "[]",
        "[1, 2]",
        "{}",
        '{"a": 1}',
        "[" * 5000 + "]" * 5000,
    ),
)
"""JSON values to put in the place of others, of other types, too large, not numbers, nested."""
ODD_TOML = (
    *("nan", "inf", "1e308", "-1", "0", "9223372036854775808", "1" + "0" * 400, "true", '"text"', '""'),
    *("1979-05-27", "[]", "[1, 2]", "{}", "{ a = 1 }", "[" * 5000 + "]" * 5000, "9" * 5000),
)
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])")
TEXTS = (".json", ".jsonl", ".toml", ".txt", ".submission", ".html")


def cut(random: Random, content: bytes) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def empty(random: Random, content: bytes) -> bytes:
    return b""


def flip_bits(random: Random, content: bytes) -> bytes:
    flipped = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        if flipped:
            flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
    return bytes(flipped)


def flip_head(random: Random, content: bytes) -> bytes:
    """Where most formats say what follows."""
    head = flip_bits(random, content[:128])
    return head + content[128:]


def repeat_part(random: Random, content: bytes) -> bytes:
    start, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    return content[:end] + content[start : start + min(end - start, 4096)] + content[end:]


def remove_part(random: Random, content: bytes) -> bytes:
    start = random.randrange(len(content) + 1)
    return content[:start] + content[start + random.randint(1, 200) :]


def insert_bytes(random: Random, content: bytes) -> bytes:
    start = random.randrange(len(content) + 1)
    odd = random.choice(
        (b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\n", b"\r", b'"', b"{", random.randbytes(16))
    )
    return content[:start] + odd + content[start:]


def append_line(random: Random, content: bytes) -> bytes:
    odd = random.choice(
        (b"\n", b"null\n", b"{}\n", b"\xff\n", content.splitlines()[-1] + b"\n" if content else b"")
    )
    return content + odd


def repeat_line(random: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    place = random.randrange(len(lines))
    return b"".join([*lines[: place + 1], *lines[place:]])


def other_encoding(random: Random, content: bytes) -> bytes:
    text = content.decode(errors="replace")
    name = random.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252"))
    accented = text.replace("e", "\N{LATIN SMALL LETTER E WITH ACUTE}", 3)
    return accented.encode(name, errors="replace")


def odd_number(random: Random, content: bytes, odd: tuple[str, ...] = ODD_JSON) -> bytes:
    text = content.decode(errors="surrogateescape")
    places = list(NUMBER.finditer(text))
    if not places:
        return flip_bits(random, content)
    place = random.choice(places)
    changed = text[: place.start()] + random.choice(odd) + text[place.end() :]
    return changed.encode(errors="surrogateescape")


def odd_toml(random: Random, content: bytes) -> bytes:
    """Another value after a key."""
    lines = content.decode(errors="surrogateescape").split("\n")
    places = [number for number, line in enumerate(lines) if "=" in line]
    if not places:
        return odd_number(random, content, ODD_TOML)
    place = random.choice(places)
    key = lines[place].partition("=")[0]
    lines[place] = f"{key}= {random.choice(ODD_TOML)}"
    return "\n".join(lines).encode(errors="surrogateescape")


def odd_json(random: Random, content: bytes) -> bytes:
    """Another value, or none, somewhere in a JSON file, or in a line of one."""
    lines = content.splitlines(keepends=True)
    lined = len(lines) > 1 and lines[0].startswith(b"{") and lines[0].rstrip().endswith(b"}")
    place = random.randrange(len(lines)) if lined else 0
    try:
        value = json.loads(lines[place] if lined else content)
    except ValueError:
        return odd_number(random, content)
    changed = _odd_inside(random, value).encode(errors="surrogatepass")
    return b"".join([*lines[:place], changed + b"\n", *lines[place + 1 :]]) if lined else changed


def _odd_inside(random: Random, value: Any) -> str:
    """The JSON text of a value of which one part is another."""
    parents: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        keys = (
            inner.keys() if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ()
        )
        parents += [(inner, key) for key in keys]
        waiting += [inner[key] for key in keys]
    if not parents:
        return random.choice(ODD_JSON)
    parent, key = random.choice(parents)
    if random.random() < 0.25:
        del parent[key]
        return json.dumps(value)
    parent[key] = "\0place"
    return json.dumps(value).replace(json.dumps("\0place"), random.choice(ODD_JSON))


BINARY: tuple[Callable[[Random, bytes], bytes], ...] = (
    *(cut, empty, flip_bits, flip_head, repeat_part, remove_part, insert_bytes),
)
OF_LINES = (cut, flip_bits, insert_bytes, append_line, repeat_line, other_encoding, odd_number)
BY_SUFFIX: dict[str, tuple[Callable[[Random, bytes], bytes], ...]] = {
    ".json": (*OF_LINES, *[odd_json] * 7),
    ".jsonl": (*OF_LINES, *[odd_json] * 7),
    ".toml": (*OF_LINES, *[odd_toml] * 7),
    ".txt": OF_LINES,
}


def nothing(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("is not there"))


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def unreadable(path: Path) -> None:
    """Nothing to the superuser, who may read all."""
    path.chmod(0)


def file_as_folder(path: Path) -> None:
    """The folder of the file is a file."""
    parent = path.parent
    shutil.rmtree(parent)
    parent.write_bytes(b"a file")


REPLACED = (nothing, folder, dangling_link, link_to_itself, unreadable)


def damage(path: Path, random: Random) -> str:
    """Damage a file; returns how."""
    if random.random() < 0.12:
        replace = random.choice(REPLACED)
        replace(path)
        return replace.__name__
    change = random.choice(BY_SUFFIX.get(path.suffix, BINARY))
    path.write_bytes(change(random, path.read_bytes()))
    return change.__name__
