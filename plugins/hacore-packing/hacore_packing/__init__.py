"""What data sets need to bring files to a disk and to pack images for training, and their tools' commands.

``fetch``, ``retrieve``: a large file over HTTP, resumed after an interruption; its room, its checksum.
``archive``: zips from elsewhere. ``stream``: one long list of a JSON file. ``ids``: what an id may be.
``decode``, ``children``: image files to arrays, by several processes. ``arrays``, ``writer``: one array,
resumed after an interruption. ``packs``, ``making``: folders that are whole or absent. ``locks``,
``folders``: one maker at a time. ``prepare``: all of it, from official files to a pack. ``data_command``:
``hacore data`` and ``hacore score``. Imports no torch.
"""

from __future__ import annotations

from hacore.plugin import Component, hookimpl

hacore_contract = 2

_COMMANDS = {
    "data": "Download, prepare, generate or verify a dataset.",
    "score": "Score a results file as the official evaluation does.",
}


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(kind="command", name=name, target=f"hacore_packing.data_command:{name}", summary=summary)
        for name, summary in _COMMANDS.items()
    ]
