"""Declares the datasets "vqa-v2" and "vqa-cp-v2", their tools and the official score. Imports no torch."""

from __future__ import annotations

from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2

URL = "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa"
IMAGES_URL = "http://images.cocodataset.org/zips"


def _web_address(value: str) -> str | None:
    if value.startswith(("https://", "http://")):
        return None
    return f"{value!r} is not an address; it must begin with https:// or http://"


@attrs.frozen(kw_only=True)
class Config:
    """Options of VQA v2."""

    root: str = option("", "folder of the official files, or of a prepared one", place=True)
    images: str = option("", 'folder that holds train2014, val2014 and test2015; "" is root', place=True)
    size: tuple[int, int] = option((224, 224), "height and width of the images", min=1)
    answers: int = option(3000, "answers to choose among, the most frequent ones; 0 is no limit", min=0)
    min_answer_count: int = option(1, "leave out answers to fewer questions than this", min=1)
    answers_from: Literal["train", "train+val"] = option("train", "where answers are counted")
    loss: Literal["cross-entropy", "binary"] = option(
        "cross-entropy", "of a softmax over the answers, or of a logistic regression for each answer"
    )
    targets: Literal["single", "soft"] = option(
        "single", "the most frequent answer of a question, or every answer by its official score"
    )
    min_word_count: int = option(1, "words rarer than this in the training questions are <unk>", min=1)
    word_vectors: str = option("", 'text file of word vectors as GloVe has them; "" is none', place=True)
    train_images: int | None = option(None, "train on the first N images and the questions about them", min=1)
    train_questions: int | None = option(None, "train on the first N questions", min=1)


@attrs.frozen(kw_only=True)
class CpConfig(Config):
    """Options of VQA-CP v2."""

    validation: float = option(
        0.1, "share of the training questions that is carved out as split val; 0 for none", min=0, below=1
    )
    validation_by: Literal["group", "image"] = option(
        "group", "what stays together: question type and answer, so that priors change, or an image"
    )
    validation_seed: int = option(0, "draws the validation split", min=0)


@attrs.frozen(kw_only=True)
class PrepareConfig:
    """Options of ``hacore data prepare vqa-v2`` and ``vqa-cp-v2``."""

    root: str = option("", "folder of the official files")
    images: str = option("", 'folder that holds train2014, val2014 and test2015; "" is DIR')
    size: tuple[int, int] = option((224, 224), "height and width of the prepared images", min=1)
    splits: tuple[str, ...] = option((), "splits to prepare; none given: all that are found")
    subset: bool = option(False, "the files hold only part of the data: do not compare counts")
    workers: int = option(0, "processes that decode images; 0 is one a core", min=0)
    output: str = option("", 'folder of the prepared data; "" is where the dataset looks in the cache')


@attrs.frozen(kw_only=True)
class DownloadConfig:
    """Options of ``hacore data download vqa-v2``."""

    output: str = option("", 'folder to unpack into; "" is vqa-v2 in the cache')
    images: bool = option(True, "the images too, about 33 GB")
    test: bool = option(True, "images and questions of test2015 too, whose answers are not public")
    url: str = option(URL, "address that holds the archives of questions and annotations", check=_web_address)
    images_url: str = option(IMAGES_URL, "address that holds the archives of images", check=_web_address)
    keep_archives: bool = option(False, "keep the archives after they are unpacked")


@attrs.frozen(kw_only=True)
class RebuildConfig:
    """Options of ``hacore data download vqa-cp-v2``."""

    root: str = option("", "folder of VQA v2 to make the split from")
    question_ids: tuple[str, str] = option(("", ""), "lists of the ids of the train and the test questions")
    output: str = option("", 'folder to write into; "" is vqa-cp-v2 in the cache')


@attrs.frozen(kw_only=True)
class ScoreConfig:
    """Options of ``hacore score vqa``."""

    questions: str = option("", "the official questions file")
    annotations: str = option("", "the official annotations file")
    results: str = option("", "JSON list of {question_id, answer}, one for each question")
    legacy: bool = option(False, "the form of the metric before March 2021")
    per_question: str = option("", "write the score of each question to this file, JSON {question_id: score}")


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="dataset",
            name="vqa-v2",
            target="hacore_vqa.dataset:VqaV2",
            config=Config,
            summary="open questions about COCO photographs (VQA v2), from the official files",
        ),
        Component(
            kind="dataset",
            name="vqa-cp-v2",
            target="hacore_vqa.dataset:VqaCpV2",
            config=CpConfig,
            summary="VQA v2 split again so that answer priors differ between training and test",
        ),
        Component(
            kind="download",
            name="vqa-v2",
            target="hacore_vqa.download:download",
            config=DownloadConfig,
            summary="fetch VQA v2, about 33 GB with images, and unpack it; resumes after an interruption",
        ),
        Component(
            kind="download",
            name="vqa-cp-v2",
            target="hacore_vqa.rebuild:rebuild",
            config=RebuildConfig,
            summary="say where to put the files, or make them from VQA v2 and lists of question ids",
        ),
        Component(
            kind="score",
            name="vqa",
            target="hacore_vqa.score:score",
            config=ScoreConfig,
            summary="the official VQA accuracy of a results file, overall and by answer and question type",
        ),
        *(
            Component(
                kind="prepare",
                name=name,
                target=f"hacore_vqa.prepare:{function}",
                config=PrepareConfig,
                argument="root",
                summary="check the official files and pack them for training; resumes after an interruption",
            )
            for name, function in (("vqa-v2", "prepare_v2"), ("vqa-cp-v2", "prepare_cp"))
        ),
    ]
