"""Files that are either whole or absent, and checkpoints that say when they are damaged.

Imports torch for checkpoints only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hacore.errors import RunError
from hacore.machine.texts import TextError, decode_text
from hacore.machine.weight_files import what_is_wrong

if TYPE_CHECKING:
    from torch import Tensor


def write_whole(path: Path, data: bytes, option: str = "--runs") -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    option: the one that gives another folder, for the RunError when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:  # a Ctrl-C must not leave half a checkpoint behind
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written: {error.strerror or error}; "
            f"make room or give another folder with {option}"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole."""
    write_whole(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path, what: str) -> Any:
    """The value of a JSON file. Raises RunError naming the file when it is missing or damaged."""
    try:
        return json.loads(decode_text(path.read_bytes()))
    except FileNotFoundError:
        raise RunError(f"{path}: missing; {what}") from None
    except TextError as error:
        raise RunError(f"{error.at(path)}; {what}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read as JSON: {error}; {what}") from None


def save_tensors(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able state as one safetensors file with a digest of the content."""
    import safetensors.torch

    # Copied, because safetensors refuses tensors that share memory, as tied weights do.
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    text = json.dumps(state, sort_keys=True)
    metadata = {"state": text, "sha256": tensors_digest(copies, text)}
    write_whole(path, safetensors.torch.save(copies, metadata=metadata))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What ``save_tensors`` wrote. Raises RunError naming the file when it is missing or damaged."""
    import safetensors

    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise RunError(f"{path}: no such checkpoint") from None
    except (OSError, safetensors.SafetensorError) as error:
        reason = f"it {what}" if (what := what_is_wrong(path)) else error
        raise RunError(f"{path}: damaged checkpoint: {reason}; {_WAY_OUT}") from None
    if "state" not in metadata or "sha256" not in metadata:
        raise RunError(f"{path}: is a safetensors file, but not a checkpoint of hacore; {_WAY_OUT}")
    if tensors_digest(tensors, metadata["state"]) != metadata["sha256"]:
        raise RunError(f"{path}: damaged checkpoint: its content does not match its checksum; {_WAY_OUT}")
    state: dict[str, Any] = json.loads(metadata["state"])
    return tensors, state


_WAY_OUT = "use the other checkpoint of the folder, or run the spec again"


def tensors_digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """SHA-256 of the text and of the tensors with their names, in the order of these."""
    import torch

    whole = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        whole.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        whole.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()
