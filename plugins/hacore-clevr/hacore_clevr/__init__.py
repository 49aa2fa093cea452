"""Declares the dataset "clevr" and its data tools. Imports neither torch nor NumPy nor Pillow."""

from __future__ import annotations

from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2

URL = "https://dl.fbaipublicfiles.com/clevr/CLEVR_v1.0.zip"
MD5 = "b11922020e72d0cd9154779b2d3d07d2"


def _web_address(value: str) -> str | None:
    if value.startswith(("https://", "http://")):
        return None
    return f"{value!r} is not an address; it must begin with https:// or http://"


def _digits(value: str) -> str | None:
    if not value or (len(value) == 32 and all(digit in "0123456789abcdef" for digit in value)):
        return None
    return f"{value!r} is not an MD5; it must be 32 digits 0-9 and a-f, or '' to skip the check"


@attrs.frozen(kw_only=True)
class Config:
    """Options of CLEVR."""

    root: str = option("", "folder of the official data, or of a prepared one", place=True)
    size: tuple[int, int] = option((128, 128), "height and width of the images", min=1)
    dev_images: int = option(
        0, "take the last N images of train, with their questions, as another split, dev", min=0
    )
    train_images: int | None = option(None, "train on the first N images and the questions about them", min=1)
    train_questions: int | None = option(None, "train on the first N questions", min=1)
    train_steps: int | None = option(
        None, "train on questions whose programs have at most N functions, filters counted one by one", min=2
    )
    about: Literal["scenes", "attributes"] = option(
        "scenes",
        "the questions of the data; or, for every object, its attributes, to train an encoder beforehand",
    )

    empty_places: int = option(
        0, "with about = 'attributes', at most so many places an image that are no object's middle", min=0
    )

    def __attrs_post_init__(self) -> None:
        if self.empty_places and self.about != "attributes":
            raise ValueError(
                f"empty_places = {self.empty_places} has no use with about = {self.about!r}; leave it out or "
                "set about = 'attributes'"
            )
        if self.about == "attributes":
            for name in ("train_questions", "train_steps"):
                if (value := getattr(self, name)) is not None:
                    raise ValueError(
                        f"{name} = {value} is of the data's own questions; with about = 'attributes' limit "
                        "the training with train_images"
                    )


@attrs.frozen(kw_only=True)
class PrepareConfig:
    """Options of ``hacore data prepare clevr``."""

    root: str = option("", "folder of the official data, with images and questions")
    size: tuple[int, int] = option((128, 128), "height and width of the prepared images", min=1)
    splits: tuple[str, ...] = option((), "splits to prepare; none given: all that are found")
    workers: int = option(0, "processes that decode images; 0 is one a core", min=0)
    output: str = option("", 'folder of the prepared data; "" is where the dataset looks in the cache')


@attrs.frozen(kw_only=True)
class DownloadConfig:
    """Options of ``hacore data download clevr``."""

    output: str = option("", 'folder to unpack into; "" is clevr in the cache')
    url: str = option(URL, "address of the archive", check=_web_address)
    md5: str = option(MD5, 'MD5 of the archive; "" skips the check', check=_digits)
    keep_archive: bool = option(False, "keep the archive after it is unpacked")


@attrs.frozen(kw_only=True)
class VerifyConfig:
    """Options of ``hacore data verify clevr``."""

    root: str = option("", "folder of the data in the official format")
    pictures: bool = option(True, "decode every image too")


@attrs.frozen(kw_only=True)
class GenerateConfig:
    """Options of ``hacore data generate clevr``."""

    images: int = option(1000, "images in all; train has those that val and test leave", min=3)
    val_images: int | None = option(None, "images of val; not given: 15%, as in CLEVR v1.0", min=1)
    test_images: int | None = option(None, "images of test; not given: 15%, as in CLEVR v1.0", min=1)
    questions_per_image: int = option(10, "questions about each image", min=1)
    seed: int = option(0, "another seed, another data set; the same seed, the same", min=0)
    output: str = option("", "folder to make")
    packed: bool = option(False, "make prepared data for training, without picture files")
    size: tuple[int, int] | None = option(
        None, "height and width of the pictures; not given: 320 480, packed 128 128", min=16
    )
    cogent: bool = option(
        False, "splits of CLEVR-CoGenT: trainA, valA, testA, and as many images again in valB and testB"
    )
    min_objects: int = option(3, "fewest objects of a scene", min=1, max=10)
    max_objects: int = option(10, "most objects of a scene", min=1, max=10)
    templates: str = option("", 'folder of question templates; "" is the 90 families of the package')
    families: tuple[str, ...] = option(
        (), "template file to ask from, as in --families zero_hop; may be repeated; none given: all"
    )
    device: Literal["auto", "cpu", "cuda"] = option("auto", "what draws the pictures; auto: a GPU if any")
    workers: int = option(0, "processes that work at the same time; 0 is one a core", min=0)
    older: Literal["refuse", "keep", "renew"] = option(
        "refuse", "with data that an older version made of the same options: stop, use it, or make it anew"
    )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="dataset",
            name="clevr",
            target="hacore_clevr.dataset:Clevr",
            config=Config,
            summary="3D scenes and compositional questions about them, from the official files",
        ),
        Component(
            kind="download",
            name="clevr",
            target="hacore_clevr.download:download",
            config=DownloadConfig,
            summary="fetch CLEVR v1.0, about 18 GB, check and unpack it; resumes after an interruption",
        ),
        Component(
            kind="prepare",
            name="clevr",
            target="hacore_clevr.prepare:prepare",
            config=PrepareConfig,
            argument="root",
            summary="check an official folder and pack it for training; resumes after an interruption",
        ),
        Component(
            kind="generate",
            name="clevr",
            target="hacore_clevr.generate.command:generate",
            config=GenerateConfig,
            summary="make scenes, pictures and questions like CLEVR's; resumes after an interruption",
        ),
        Component(
            kind="verify",
            name="clevr",
            target="hacore_clevr.verify:verify",
            config=VerifyConfig,
            argument="root",
            summary="compute every answer again from its scene and program, and check scenes and images",
        ),
    ]
