"""The core's own components, declared as any plugin's are. Imports no torch."""

from __future__ import annotations

from hacore.plugin import Component, hookimpl

hacore_contract = 2

_COMMANDS = {
    "run": ("run:run", "Train and measure the experiment of a spec."),
    "eval": ("run:evaluate", "Measure a finished run again, on any split."),
    "check": ("inspect:check", "Say whether a spec is valid, and what it costs."),
    "plugins": ("inspect:plugins", "List installed components, or the options of one."),
    "needs": ("inspect:needs", "List the pip packages that a spec needs."),
}
"""In the order of ``hacore --help``."""


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(kind="command", name=name, target=f"hacore.cli.{target}", summary=summary)
        for name, (target, summary) in _COMMANDS.items()
    ]
