"""How packages of this project are installed: from a checkout or from wheels, as they are on no index."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from hacore.errors import HacoreError, install_from
from hacore.machine.commands import pasteable, path_word
from hacore.registry.catalogue import CORE, required_libraries


def install_words(*distributions: str) -> tuple[str, ...]:
    """What pip takes to install published packages and their libraries, ready for a shell.

    The folders are those of the checkout that the core is installed from, else as in any checkout.
    """
    plugins = Path(__file__).parents[2] / "plugins"
    if not plugins.is_dir() or plugins.parent == Path.cwd():
        plugins = Path("plugins")
    names = dict.fromkeys(name for one in distributions for name in (*required_libraries(one), one))
    return tuple(pasteable("-e", folder) for folder in _folders(names, plugins).values())


def missing_package(what: str, module: str) -> ImportError:
    """What to raise where the package that brings ``what`` is not installed; its words say how to."""
    name = module.replace("_", "-")
    return ImportError(
        f"{what} comes with {name}, which is not installed; {install_from(install_words(name))}"
    )


def install_arguments(distributions: Sequence[str], source: Path) -> list[str]:
    """What pip takes to install packages from ``source``, the folder plugins of a checkout or one of wheels.

    Raises HacoreError where one is not there.
    """
    wheels = {path.name.partition("-")[0].replace("_", "-"): path for path in sorted(source.glob("*.whl"))}
    folders = _folders(distributions, source).items()
    places = wheels or {name: path for name, path in folders if (path / "pyproject.toml").is_file()}
    if absent := [name for name in distributions if name not in places]:
        raise HacoreError(
            f"{source}: has no {'wheel' if wheels else 'folder'} of {', '.join(absent)}; name the folder "
            "plugins of a checkout, or dist, which 'make wheels' fills"
        )
    return [word for name in distributions for word in ([] if wheels else ["-e"]) + [path_word(places[name])]]


def _folders(distributions: Iterable[str], plugins: Path) -> dict[str, Path]:
    return {
        name: Path(os.path.normpath(plugins / (".." if name == CORE else name))) for name in distributions
    }
