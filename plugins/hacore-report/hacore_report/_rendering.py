"""Templates into pages, and how numbers are written in them."""

from __future__ import annotations

from typing import Any

from hacore.measure.scores import Baseline
from hacore.runs.result import Measured
from hacore_report._values import BASELINES


def render(template: str, **values: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hacore_report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: number(value) or "–"
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f}"
    environment.filters["points"] = lambda value: f"{100 * value:+.1f}"
    text: str = environment.get_template(template).render(**values)
    return text


def number(value: float | None) -> str | None:
    """A whole number with commas."""
    return None if value is None else f"{value:,.0f}"


def named_baselines(result: Measured) -> list[tuple[str, Baseline]]:
    """The baselines with their names in words."""
    return [(BASELINES.get(name, name), baseline) for name, baseline in result.baselines.items()]
