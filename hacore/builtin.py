"""What the core itself brings, declared by the same door as any plugin's. Imports no torch."""

from __future__ import annotations

from hacore.plugin import Component, hookimpl

hacore_contract = 2

_COMMANDS = {
    "run": ("run:run", "Train and measure the experiment of a spec."),
    "eval": ("run:evaluate", "Measure a finished run again, on any split."),
    "ask": ("ask:ask", "Ask a trained model about an image."),
    "report": ("report:report", "Write the page about a run, or one that compares runs."),
    "export": ("export:export", "Write a trained model as ONNX or a torch.export program."),
    "sweep": ("sweep:sweep", "Run every combination of a spec with a [sweep]."),
    "table": ("table:table", "Make a table of runs: mean and deviation over seeds."),
    "plot": ("plot:plot", "Draw accuracy, time and cost against the share of kept cells."),
    "check": ("inspect:check", "Say whether a spec is valid, and what it costs."),
    "features": ("features:features", "Run a frozen image encoder over a dataset, once."),
    "plugins": ("inspect:plugins", "List installed components, or the options of one."),
    "needs": ("inspect:needs", "List the pip packages that a spec needs."),
    "data": ("data:data", "Download, prepare, generate or verify a dataset."),
    "score": ("data:score", "Score a results file as the official evaluation does."),
    "new": ("new:new", "Write a new plugin package with passing tests."),
}
"""In the order of ``hacore --help``."""


@hookimpl
def hacore_declare() -> list[Component]:
    commands = [
        Component(kind="command", name=name, target=f"hacore.cli.{target}", summary=summary)
        for name, (target, summary) in _COMMANDS.items()
    ]
    local = Component(
        kind="executor",
        name="local",
        target="hacore.sweeps._local:LocalWorkers",
        summary="this machine, a process for each run",
    )
    page = Component(
        kind="observer",
        name="report",
        target="hacore.report._observer:ReportObserver",
        summary="the page report/index.html at the end of a run",
        default=True,
    )
    return [*commands, local, page]
