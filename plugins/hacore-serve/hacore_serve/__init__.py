"""Declares the command ``hacore serve``. Imports no torch and no web framework."""

from __future__ import annotations

from hacore.plugin import Command, hookimpl


@hookimpl
def hacore_commands() -> list[Command]:
    return [
        Command(
            name="serve",
            target="hacore_serve.command:serve",
            summary="Open a web page that asks trained models about images.",
        )
    ]
