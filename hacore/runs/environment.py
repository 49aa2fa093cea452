"""environment.json: where and with what a run was made."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import torch

from hacore.machine.device import device_name
from hacore.measure.predict import precision_name, precision_of
from hacore.plugin import CONTRACT
from hacore.registry import registry
from hacore.spec import SECTIONS, Spec

_LIBRARIES = ("torch", "torchvision", "numpy", "attrs", "cattrs", "pluggy", "safetensors", "toml")


def describe_environment(spec: Spec, device: torch.device, processes: int) -> dict[str, Any]:
    """Versions, plugins with their distributions, device, precision and git revision."""
    chosen = {section: registry().find(kind, spec.section(section).use) for section, kind in SECTIONS.items()}
    return {
        "hacore": version("hacore"),
        "contract": CONTRACT,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: version(name) for name in _LIBRARIES if any(distributions(name=name))},
        "components": {
            section: {key: getattr(component, key) for key in ("name", "distribution", "version")}
            for section, component in chosen.items()
        },
        "device": str(device),
        "device_name": device_name(device),
        "precision": precision_name(precision_of(spec.train, device)),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "git_revision": _git_revision(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _git_revision() -> str | None:
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None
