"""The files that a table calls its images."""

from __future__ import annotations

import unicodedata
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from hacore.errors import DataError

_MOST_FILES = 100_000  # that are looked through for a name that is almost right


class Pictures:
    """The pictures in a folder, by the names that a table gives them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[str, str] = {}

    def name(self, given: str) -> str:
        """The path of a file within the folder, with ``/``, the same for all ways to write it.

        Raises DataError, with what to do, when there is no such file.
        """
        if given not in self._names:
            self._names[given] = self._find(given)
        return self._names[given]

    def path(self, name: str) -> Path:
        return self._root / name

    def _find(self, given: str) -> str:
        # What is written on Windows is read elsewhere, and names of macOS have their accents apart.
        spellings = dict.fromkeys([given, given.replace("\\", "/")])
        spellings |= dict.fromkeys(
            unicodedata.normalize(form, spelling) for spelling in (*spellings,) for form in ("NFC", "NFD")
        )
        for spelling in spellings:
            path = PurePosixPath(spelling)
            if path.is_absolute() or Path(spelling).is_absolute():
                raise DataError(f"image '{given}' is an absolute path; give the path within {self._root}")
            if ".." in path.parts:
                raise DataError(f"image '{given}' leaves the folder; move the picture into {self._root}")
            try:
                if (self._root / path).is_file():
                    return path.as_posix()
            except (OSError, ValueError):  # too long a name, or one with a zero
                break
        if PureWindowsPath(given).drive:
            raise DataError(f"image '{given}' is an absolute path; give the path within {self._root}")
        near = self._alike.get(PurePosixPath(given.replace("\\", "/")).stem.casefold())
        hint = f"did you mean '{near}'?" if near else f"put it into {self._root}, or remove the row"
        raise DataError(f"image '{given}' is not in the folder; {hint}")

    @cached_property
    def _alike(self) -> dict[str, str]:
        """Names of files by what remains without folders, suffix and case."""
        names: dict[str, str] = {}
        for number, path in enumerate(self._root.rglob("*")):
            if number >= _MOST_FILES:
                break
            if path.is_file():
                names.setdefault(path.stem.casefold(), path.relative_to(self._root).as_posix())
        return names
