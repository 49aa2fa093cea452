"""``hacore data``: tools that plugins declare become commands whose options are the config's fields."""

import json

import pytest

DECLARE = """
from typing import Literal
import attrs
from hacore.plugin import Component, hookimpl, option

@attrs.frozen(kw_only=True)
class Data:
    images: int = option(3, "images in all", min=1)

@attrs.frozen(kw_only=True)
class Config:
    root: str = option("", "folder of the data")
    images: int = option(5, "images to make", min=1)
    size: tuple[int, int] = option((8, 9), "rows and columns", min=1)
    splits: tuple[str, ...] = option((), "splits to make")
    look: Literal["plain", "fine"] = option("plain", "how it looks")
    share: float | None = option(None, "share of something", above=0)
    packed: bool = option(False, "without pictures")

@hookimpl
def hacore_declare():
    return [Component(kind="dataset", name="toys", target="fake_toys_part:Toys", config=Data, summary="toys"),
            Component(kind="generate", name="toys", target="fake_toys_part:make", config=Config,
                      argument="root", summary="makes toys")]
"""
PART = """
import attrs
from hacore.errors import DataError
from hacore.data_tools import Outcome

def make(config, tell):
    tell.message(f"making in {config.root}")
    tell.progress("images", config.images, config.images)
    if config.root == "full":
        raise DataError("full: no room; make some")
    problems = ("toys.json: cut; make it anew", "2.png: missing") if config.root == "bad" else ()
    return Outcome(summary={"images": 1000 * config.images, "by split": {"train": 3}, **attrs.asdict(config)},
                   problems=problems)
"""


@pytest.fixture
def toys(install):
    install("fake_toys", DECLARE, fake_toys_part=PART)


def test_options_reach_the_tool_and_its_summary_is_shown(cli, toys):
    words = "data generate toys here --images 7 --size 4 6 --splits train --splits val --look fine --packed"
    ran = cli(*words.split())
    assert ran.status == 0
    assert ran.out.splitlines() == [
        "images: 7",
        "by split:",
        "  train: 3",
        "root: here",
        "size: (4, 6)",
        "splits: ('train', 'val')",
        "look: fine",
        "share: None",
        "packed: True",
    ]
    assert ran.err == "making in here\nimages: 7 of 7\n"


def test_json_and_defaults(cli, toys):
    ran = cli("data", "generate", "toys", "there", "--json")
    report = json.loads(ran.out)
    assert report["problems"] == []
    assert report["summary"]["size"] == [8, 9]
    assert report["summary"]["images"] == 5


def test_every_problem_is_named_and_the_exit_status_is_1(cli, toys):
    ran = cli("data", "generate", "toys", "bad")
    assert (ran.status, ran.out) == (1, "")
    problems = [line for line in ran.err.splitlines() if line.startswith("hacore: ")]
    assert problems == [
        "hacore: toys.json: cut; make it anew",
        "hacore: 2.png: missing",
        "hacore: 2 problems found",
    ]
    ran = cli("data", "generate", "toys", "bad", "--json")
    assert ran.status == 1
    assert len(json.loads(ran.out)["problems"]) == 2


def test_what_cannot_be_done_is_one_line(cli, toys):
    assert cli("data", "generate", "toys", "full").error == "full: no room; make some"


def test_options_out_of_range_are_all_told(cli, names, toys):
    ran = cli("data", "generate", "toys", "here", "--images", "0", "--share", "-1")
    assert ran.status == 1
    images, share = ran.err.splitlines()
    names(images, "--images:", "0", "at least 1")
    names(share, "--share:", "-1.0", "above 0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("data generate toys here --images many", "'many' is not a valid integer"),
        ("data generate toys here --no-such", "No such option"),
        ("data generate toys", "Missing argument 'DIR'"),
        ("data generate toyz here", "No such command 'toyz'"),
        ("data make toys", "No such command 'make'"),
    ],
)
def test_usage(cli, toys, words, message):
    ran = cli(*words.split())
    assert (ran.status, ran.out) == (2, "")
    assert message in ran.err


def test_help_names_the_options_with_defaults(cli, toys):
    text = cli("data", "generate", "toys", "--help").out
    assert "Makes toys." in text
    assert "--images INTEGER" in text
    assert "images to make" in text
    assert "[default: 8 9]" in text
    assert "toys" in cli("data", "generate", "--help").out


def test_score_is_a_command_of_its_own_and_its_json_is_the_metrics(cli, install):
    declare = DECLARE.replace('kind="generate", name="toys"', 'kind="score", name="toy-metric"')
    install("fake_toys", declare, fake_toys_part=PART)
    report = json.loads(cli("score", "toy-metric", "here", "--json").out)
    assert report["look"] == "plain"
    assert "summary" not in report
    ran = cli("score", "toy-metric", "bad", "--json")
    assert ran.status == 1
    assert len(json.loads(ran.out)["problems"]) == 2
    assert "toy-metric" in cli("score", "--help").out
    assert "toy-metric" not in cli("data", "--help").out
    assert cli("data", "score", "toy-metric").status == 2
    assert "No such command 'toy-metrik'" in cli("score", "toy-metrik", "here").err


def test_a_score_that_is_not_installed(cli, names, uninstall):
    uninstall("hacore-vqa")
    names(
        cli("score", "vqa").error,
        "score 'vqa'",
        "not installed",
        "pip install -e plugins/hacore-packing -e plugins/hacore-vqa",
    )


def test_a_dataset_without_the_tool_and_one_that_is_not_installed(cli, names, toys, uninstall):
    message = cli("data", "verify", "toys", "here").error
    names(message, "dataset 'toys'", "verify", "datasets that do:")
    uninstall("hacore-sort-of-clevr")
    message = cli("data", "generate", "sort-of-clevr").error
    names(message, "'sort-of-clevr'", "not installed", "-e plugins/hacore-sort-of-clevr")
