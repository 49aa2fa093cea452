"""``hacore zoo``."""

from __future__ import annotations

import os
from typing import Any

import attrs
import click

from hacore.cli.tables import json_option, percent, print_json, print_table
from hacore.machine.commands import pasteable
from hacore_zoo.shelf import Example, Model, names, read_model

_COLUMNS = ["model", "accuracy %", "question only %", "cells kept %", "MB", "what it is"]


@click.command()
@click.argument("name", required=False)
@json_option
def zoo(name: str | None, as_json: bool) -> None:
    """Show the trained models that come along, or of one, NAME, where it is from and what to ask it.

    Where a command takes a run folder, zoo/NAME is such a model, unless there is a run folder of that name.
    What a command writes about it goes to zoo/NAME in the working folder.

    \b
    Examples:
      hacore zoo
      hacore zoo easy_vqa
      hacore eval zoo/easy_vqa selector.k=4
    """
    if name is not None:
        model = read_model(name.removeprefix("zoo/"))
        if as_json:
            print_json(_record(model))
        else:
            _show(model)
        return
    models = [read_model(each) for each in names()]
    if as_json:
        print_json({"models": [_record(model) for model in models]})
    else:
        print_table("", _COLUMNS, [_row(model) for model in models])


def _row(model: Model) -> list[str]:
    return [
        f"zoo/{model.name}",
        percent(model.result.accuracy),
        percent(_question_only(model)),
        percent(model.result.kept),
        f"{model.bytes / 1e6:.1f}",
        model.summary,
    ]


def _question_only(model: Model) -> float | None:
    baseline = model.result.baselines.get("question_only")
    return baseline.accuracy if baseline else None


def _origin(model: Model) -> dict[str, str]:
    """Where a model is from, in words."""
    result, environment = model.result, model.environment
    training = result.training
    groups = ", ".join(f"{name} {percent(part.accuracy)}%" for name, part in result.by_group.items())
    return {
        "package": model.distribution,
        "spec": " ".join([model.spec, *model.overrides]),
        "seed": str(result.seed),
        "data": f"{result.data.dataset}, {result.data.fingerprint}",
        f"accuracy on {result.split}": f"{percent(result.accuracy)}% of {result.questions:,}; {groups}",
        "question only": f"{percent(_question_only(model))}%",
        "majority answer": f"{percent(result.baselines['majority'].accuracy)}%",
        "cells kept": f"{percent(result.kept)}%",
        "trained": f"{model.date}, in {training.seconds:,.0f} s, {training.precision}"
        if training
        else model.date,
        "device": f"{environment['device_name']}, {environment['threads']} thread(s)",
        "versions": f"hacore {environment['hacore']}, torch {environment['libraries']['torch']}",
        "revision": str(environment["git_revision"]),
        "size": f"{model.bytes / 1e6:.2f} MB, {result.parameters or 0:,} parameters",
    }


def _show(model: Model) -> None:
    click.secho(f"zoo/{model.name}: {model.summary}", bold=True)
    origin = _origin(model)
    width = max(map(len, origin))
    for key, value in origin.items():
        click.echo(f"  {key:<{width}}  {value}")
    if model.examples:
        click.secho("try it", bold=True)
    for example in model.examples:
        click.echo(f"  {_command(model, example)}")


def _command(model: Model, example: Example) -> str:
    picture = min(str(example.picture), os.path.relpath(example.picture), key=len)
    return pasteable("hacore", "ask", f"zoo/{model.name}", picture, example.question)


def _record(model: Model) -> dict[str, Any]:
    """As JSON holds it."""
    examples = [{**attrs.asdict(example), "picture": str(example.picture)} for example in model.examples]
    return {
        "name": f"zoo/{model.name}",
        "summary": model.summary,
        "bytes": model.bytes,
        "origin": _origin(model),
        "examples": examples,
        "result": model.result.as_dict(),
    }
