"""How packages of this project are installed: from a checkout or from wheels, as they are on no index."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hacore.errors import HacoreError
from hacore.machine.commands import pasteable, path_word
from hacore.registry.catalogue import CORE, required_library


def install_words(*distributions: str) -> tuple[str, ...]:
    """What pip takes to install published packages and their libraries, ready for a shell, one word each.

    The folders are those of the checkout that the core is installed from; else as in any checkout.
    """
    plugins = Path(__file__).parents[2] / "plugins"
    if not plugins.is_dir() or plugins.parent == Path.cwd():
        plugins = Path("plugins")
    libraries = filter(None, map(required_library, distributions))
    return tuple(
        pasteable("-e", _folder(name, plugins)) for name in dict.fromkeys((*libraries, *distributions))
    )


def install_arguments(distributions: Sequence[str], source: Path) -> list[str]:
    """What pip takes to install packages from ``source``, the folder plugins of a checkout or one of wheels.

    Raises HacoreError where one is not there, or where a shell would split a path.
    """
    wheels = {path.name.partition("-")[0].replace("_", "-"): path for path in sorted(source.glob("*.whl"))}
    folders = {name: _folder(name, source) for name in distributions}
    places = wheels or {name: path for name, path in folders.items() if (path / "pyproject.toml").is_file()}
    if absent := [name for name in distributions if name not in places]:
        raise HacoreError(
            f"{source}: has no {'wheel' if wheels else 'folder'} of {', '.join(absent)}; name the folder "
            "plugins of a checkout, or dist, which 'make wheels' fills"
        )
    words = [path_word(places[name]) for name in distributions]
    if split := [word for word in words if len(word.split()) > 1]:
        raise HacoreError(f"{split[0]}: a shell would split this path; change to {source} and give --from .")
    return words if wheels else [part for word in words for part in ("-e", word)]


def _folder(distribution: str, plugins: Path) -> Path:
    return Path(os.path.normpath(plugins / (".." if distribution == CORE else distribution)))
