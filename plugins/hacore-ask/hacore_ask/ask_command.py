"""``hacore ask``."""

from __future__ import annotations

import hashlib
import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hacore.cli.streams import can_show
from hacore.cli.tables import change_option, device_option, percent, print_json
from hacore.console import Console, show_log
from hacore.errors import HacoreError
from hacore.machine.files import write_whole
from hacore.machine.names import file_name_part, short_digest
from hacore.machine.texts import TextError, decode_text
from hacore.runs.places import changed, read_changes
from hacore.spec import spec_table
from hacore_ask.words import split_changes

if TYPE_CHECKING:
    from hacore.runs.trained import Trained
    from hacore_ask.asking import Reply


@click.command(no_args_is_help=True)
@click.argument("run", type=click.Path())
@click.argument("image", type=click.Path())
@click.argument("questions", nargs=-1, metavar="[QUESTION | KEY=VALUE]...")
@click.option("--top", default=5, show_default=True, type=click.IntRange(1), help="Answers to show.")
@click.option(
    "--output", default=".", show_default=True, metavar="FOLDER", help="Where the pictures are written."
)
@click.option("--picture/--no-picture", default=True, help="Draw the kept cells; on by default.")
@change_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ask(
    run: str,
    image: str,
    questions: tuple[str, ...],
    top: int,
    output: str,
    picture: bool,
    overrides: tuple[str, ...],
    device: str,
    as_json: bool,
) -> None:
    """Ask the trained model of RUN, a run folder or a folder of runs, about any image.

    Shows the likeliest answers, and writes a picture FOLDER/IMAGE-QUESTION-DIGEST.png with the kept cells
    bright and the rest darkened; the digest differs for another run, image, question or option. Without a
    QUESTION, it prompts for one after another, or reads them from standard input, one a line. KEY=VALUE
    changes the selector or the place of the data, as for 'hacore eval'; the data that the model was trained
    on are not needed.

    \b
    Examples:
      hacore ask runs/han_rn scene.png "is the red object on the left?"
      hacore ask runs/han_rn scene.png
      hacore ask runs/han_rn scene.png --json < questions.txt
      hacore ask runs/han_rn scene.png "how many?" selector.k=4
    """
    words, questions = split_changes(questions)
    changes = read_changes((*overrides, *words))
    from hacore.runs.trained import load

    show_log(Console())
    trained = changed(load(run, device=device), changes)
    folder = Path(output) if picture else None
    if not questions and sys.stdin.isatty() and not as_json:
        _converse(trained, image, top, folder)
        return
    texts = list(questions) or [line for line in _lines() if line.strip()]
    if not texts:
        raise HacoreError("no question was given; give one after the image, or one a line on standard input")
    from hacore.pictures import open_picture

    replies = trained.ask(open_picture(image), texts, top=top)
    files = [_draw(reply, trained, image, folder) for reply in replies]
    if as_json:
        print_json(
            {
                "run": run,
                "image": image,
                "replies": [
                    {**reply.as_dict(), "picture": file and str(file)}
                    for reply, file in zip(replies, files, strict=True)
                ],
            }
        )
        return
    for number, (reply, file) in enumerate(zip(replies, files, strict=True)):
        if number:
            click.echo()
        _show(reply, file)


def _converse(trained: Trained, image: str, top: int, folder: Path | None) -> None:
    """Question after question at a terminal; a mistake does not end it."""
    from hacore.pictures import open_picture

    picture = open_picture(image)
    click.echo(f"{image}: ask away; an empty line or Ctrl-D ends")
    while True:
        try:
            question = input("> ")
        except EOFError:
            click.echo()
            return
        if not question.strip():
            return
        try:
            reply = trained.ask(picture, question, top=top)
            _show(reply, _draw(reply, trained, image, folder), title=False)
        except HacoreError as error:
            click.echo(f"hacore: {error}", err=True)


def _lines() -> list[str]:
    """Those of standard input, which is read as files are, whatever the terminal's encoding."""
    stream = getattr(sys.stdin, "buffer", sys.stdin)  # one that a program put in its place may hold text
    data = stream.read()
    try:
        text = data if isinstance(data, str) else decode_text(data)
    except TextError as error:
        raise HacoreError(error.at("standard input")) from None
    return re.split("\r\n|\r|\n", text)


def _show(reply: Reply, file: Path | None, *, title: bool = True) -> None:
    if title:
        click.secho(reply.question, bold=True)
    if reply.unknown:
        click.echo(f"words that the model never saw: {', '.join(reply.unknown)}")
    width = max(len(ranked.answer) for ranked in reply.answers)
    block = "█" if can_show("█") else "#"
    for ranked in reply.answers:
        bar = block * round(30 * ranked.probability)
        click.echo(f"  {ranked.answer:<{width}}  {percent(ranked.probability):>5}%  {bar}".rstrip())
    rows, columns = reply.grid
    where = f"; picture: {file}" if file else ""
    click.echo(f"{len(reply.kept)} of {rows * columns} cells kept{where}")


def _draw(reply: Reply, trained: Trained, image: str, folder: Path | None) -> Path | None:
    """Write the picture of a reply, named by image and question and by a digest of all that decides it."""
    if folder is None:
        return None
    png = io.BytesIO()
    reply.draw().save(png, "PNG")
    places = [str(path.resolve()) for path in (trained.folder.path, Path(image))]
    content = hashlib.sha256(png.getvalue()).hexdigest()
    digest = short_digest([*places, reply.question, spec_table(trained.spec)["selector"], content])
    parts = file_name_part(Path(image).stem), file_name_part(reply.question.lower()), digest
    file = folder / f"{'-'.join(part for part in parts if part)}.png"
    write_whole(file, png.getvalue(), option="--output")
    return file
