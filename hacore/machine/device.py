"""The device that a model runs on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch

from hacore.errors import HacoreError
from hacore.machine.memory import keep_freed_memory

_DEVICES = "auto, cpu, cuda, cuda:INDEX or mps"
_OLDER = "DEFAULT|NO AVX|SSE41|AVX|AVX2|AVX2_VNNI|AVX2_VNNI_2|AVX512_CORE|AVX512_CORE_VNNI"
"""Instructions without products of bfloat16, as torch and oneDNN, which multiplies for it, name them."""


def choose_device(name: str = "auto") -> torch.device:
    """``auto`` (a CUDA GPU if there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", name):
        raise HacoreError(f"no device '{name}'; choose {_DEVICES}")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "mps" and not torch.backends.mps.is_available():
        raise HacoreError(f"device 'mps' cannot be used: torch finds none here; choose {_DEVICES}")
    try:
        device = torch.device(name)
        if name == "cuda" and "LOCAL_RANK" in os.environ:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error) or "not available").splitlines()[0]
        raise HacoreError(f"device '{name}' cannot be used: {reason}; choose {_DEVICES}") from None
    return device


def use_device(device: torch.device) -> None:
    """Make it the one on which this process computes."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    elif device.type == "cpu":
        keep_freed_memory()


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether torch multiplies matrices of bfloat16 by instructions of their own on a device: where it pays.

    On CUDA, and on a CPU with AMX or AVX512-BF16, unless ATEN_CPU_CAPABILITY or ONEDNN_MAX_CPU_ISA asks torch
    or oneDNN for older instructions. Elsewhere bfloat16 takes longer than float32.
    """
    if device.type != "cpu":
        return device.type == "cuda"
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    allowed = (torch.backends.cpu.get_cpu_capability(), limit.upper().replace("DEFAULT", ""))
    usable = torch.backends.mkldnn.is_available() and not {*allowed} & {*_OLDER.split("|")}
    return usable and any(map(has_instructions, ("avx512_bf16", "amx_tile")))


def has_instructions(name: str) -> bool:
    """Whether this CPU has the instructions that torch calls so, such as ``amx_tile``."""
    # Private, as torch has no public function that tells it in every version from 2.8 on.
    return bool(getattr(torch.cpu, f"_is_{name}_supported", bool)())


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        model = ""
    return f"{model or platform.processor() or platform.machine()}, {os.cpu_count()} cores"
