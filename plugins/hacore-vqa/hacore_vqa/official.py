"""The official files of VQA v2 and VQA-CP v2: which splits a folder has, and where their images are.

v2_OpenEnded_mscoco_{train2014,val2014,test2015,test-dev2015}_questions.json
v2_mscoco_{train,val}2014_annotations.json
vqacp_v2_{train,test}_{questions,annotations}.json
{train2014,val2014,test2015}/COCO_{train2014,val2014,test2015}_000000000009.jpg
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
from hacore_packing.prepare import no_folder

from hacore.errors import DataError

IMAGE_IDS = 10**18
"""Above every image id: they are numbers of up to 18 digits in files' names."""

COCO = ("train2014", "val2014", "test2015")
"""Folders of images; a folder's name is also in its files' names."""


@attrs.frozen(kw_only=True)
class Split:
    """A split of the official data.

    questions, annotations: names of files, "" for answers that are not public. coco: folder of the images,
    "" where each question names its own. part: name of the packed images. published: how many questions.
    """

    questions: str
    annotations: str
    coco: str
    part: str
    published: int


@attrs.frozen(kw_only=True)
class Layout:
    """A data set's name, its splits in order, and how to get the files."""

    name: str
    splits: Mapping[str, Split]
    way: str


def _v2(name: str, annotations: str, coco: str, published: int) -> Split:
    return Split(
        questions=f"v2_OpenEnded_mscoco_{name}_questions.json",
        annotations=annotations,
        coco=coco,
        part=coco,
        published=published,
    )


def _cp(name: str, published: int) -> Split:
    return Split(
        questions=f"vqacp_v2_{name}_questions.json",
        annotations=f"vqacp_v2_{name}_annotations.json",
        coco="",
        part="coco",
        published=published,
    )


V2 = Layout(
    name="vqa-v2",
    splits={
        "train": _v2("train2014", "v2_mscoco_train2014_annotations.json", "train2014", 443_757),
        "val": _v2("val2014", "v2_mscoco_val2014_annotations.json", "val2014", 214_354),
        "test": _v2("test2015", "", "test2015", 447_793),
        "test-dev": _v2("test-dev2015", "", "test2015", 107_394),
    },
    way="get them by 'hacore data download vqa-v2'",
)
CP = Layout(
    name="vqa-cp-v2",
    splits={"train": _cp("train", 438_183), "test": _cp("test", 219_928)},
    way="'hacore data download vqa-cp-v2' says how to get them",
)


def find_splits(root: Path, layout: Layout) -> tuple[str, ...]:
    """The splits with a questions file. DataError when there is none, or not that of the training split."""
    present = tuple(name for name, split in layout.splits.items() if (root / split.questions).is_file())
    if "train" in present:
        return present
    wanted = layout.splits["train"].questions
    inner = sorted(root.glob(f"*/{wanted}"))
    hint = f"did you mean {inner[0].parent}?" if inner else layout.way
    what = f"has no {wanted}" if root.is_dir() else no_folder(root)
    raise DataError(f"{root}: {what}; give the folder of the official files; {hint}")


def image_file(images: Path, coco: str, image: int) -> Path:
    return images / coco / f"COCO_{coco}_{image:012d}.jpg"
