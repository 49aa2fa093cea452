"""Questions to words.

A question becomes lower case, its accents composed (NFC), typographic apostrophes plain ones. Words are runs
of letters and digits, with apostrophes, and in numbers with points and commas, inside them: ``don't``,
``o'clock``, ``10.5``. The ``'s`` at the end of a word is a word of its own, as in vectors of words trained on
newswire and web text. Everything else separates words and is dropped. A question without any word is the one
word ``<unk>``. No question is ever cut.
"""

from __future__ import annotations

import re

from hacore.machine.texts import composed

PAD, UNK = "<pad>", "<unk>"

_WORD = re.compile(r"'s(?![^\W_])|\d+(?:[.,]\d+)+(?![^\W_])|[^\W_]+(?:'(?!s(?![^\W_]))[^\W_]+)*")
WORD_RULE = {"normalize": "NFC", "replace": {"\u2019": "'"}, "pattern": _WORD.pattern, "empty": [UNK]}
"""``split_words`` as data, see ``hacore.data.Dataset``."""


def split_words(question: str) -> list[str]:
    """The words of a question, at least one."""
    return _WORD.findall(composed(question.lower()).replace("\u2019", "'")) or [UNK]
