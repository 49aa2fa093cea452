"""What the package ``easy-vqa`` holds: pictures and questions of its two splits."""

from __future__ import annotations

from pathlib import Path

import attrs
import easy_vqa
import numpy as np
import numpy.typing as npt
from hacore_packing.decode import Job, decode

from hacore.errors import DataError, reason
from hacore_easy_vqa import TRAIN_IMAGES

SIZE = 64
IMAGES = {"train": TRAIN_IMAGES, "test": 1000}
_AGAIN = "install it again: pip install --force-reinstall --no-deps easy-vqa"
_READERS = {"train": easy_vqa.get_train_questions, "test": easy_vqa.get_test_questions}


@attrs.frozen(kw_only=True, eq=False)
class Official:
    """A split of the package. image: (Q,) rows of images. images: (I, 3, 64, 64), row i is picture i."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    image: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]


def read_official(split: str) -> Official:
    """The split ``train`` or ``test``. DataError names the file that is missing or damaged."""
    folder, count = Path(easy_vqa.__file__).parent / "data" / split, IMAGES[split]
    file = folder / "questions.json"
    try:
        questions, answers, image = _READERS[split]()
        rows = np.array(image, np.int64)
        if not (len(rows) and 0 <= rows.min() <= rows.max() < count):
            raise ValueError(f"asks about other pictures than 0 to {count - 1}")
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise DataError(f"{file}: cannot be read ({reason(error)}); {_AGAIN}") from error
    paths = tuple(str(folder / "images" / f"{number}.png") for number in range(count))
    decoded = decode(Job(start=0, paths=paths, size=(SIZE, SIZE), way_out=_AGAIN))
    if decoded.damage:
        raise DataError(decoded.damage[0][1])
    return Official(questions=tuple(questions), answers=tuple(answers), image=rows, images=decoded.images)
