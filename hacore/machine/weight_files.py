"""What is wrong with files from elsewhere: of another kind than was meant, or with NaN among the weights.

Imports torch for tensors only.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hacore.errors import HacoreError, RunError

if TYPE_CHECKING:
    from torch import Tensor

_HEAD = 4096  # bytes that tell a kind
_DOWNLOAD = "the download failed or asks to log in; get the file again, with a browser or the site's own tool"


def require_finite(
    tensors: Mapping[str, Tensor], where: str, way_out: str, error: type[HacoreError] = RunError
) -> None:
    """Raise ``error`` that names the first tensor with NaN or infinity, and the file: ``where``."""
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.is_meta and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise error(
                f"{where}: tensor {name} holds NaN or infinity in {bad:,} of its {tensor.numel():,} numbers; "
                f"{way_out}"
            )


def what_is_wrong(path: Path) -> str:
    """What a file is that holds no tensors, and what to do; "" if its first bytes and length do not tell."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not size:
        return "is empty; get the file again"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself; run 'git lfs pull' in its repository"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return f"is a web page: {_DOWNLOAD}"
    if head.startswith(b"PK"):
        return _wrong_zip(path)
    if head[8:9] == b"{":
        needed = int.from_bytes(head[:8], "little")
        if needed > size:
            return f"is cut off in its header of {needed:,} bytes; get it again"
        return "is a safetensors file that is cut off or damaged; get it again"
    for start, name in (
        (b"\x1f\x8b", "a gzip archive; unpack it"),
        (b"BZh", "a bzip2 archive; unpack it"),
        (b"\xfd7zXZ", "an xz archive; unpack it"),
        (b"\x89HDF", "an HDF5 file, as Keras writes; convert it to a state dict of torch"),
        (b"\x93NUMPY", "an array of NumPy; save a state dict of torch"),
        (b"GGUF", "a GGUF file; get the weights as safetensors"),
        (b"{", f"JSON: {_DOWNLOAD}"),
    ):
        if head.startswith(start):
            return f"is {name}"
    if head[257:262] == b"ustar":
        return "is a tar archive; unpack it"
    return ""


def _wrong_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "is cut off or damaged: a zip, as torch.save writes, without its end; get it again"
    if any(name.endswith("/constants.pkl") for name in names):
        return "is a program of TorchScript; save the state_dict() of its module instead"
    if any(name.endswith("data.pkl") for name in names):
        return ""
    inner = next((name for name in names if name.endswith((".pth", ".pt", ".safetensors"))), None)
    return f"is a zip archive; unpack it{f' and give {inner}' if inner else ''}"
