"""Which devices multiply matrices of bfloat16 by instructions of their own."""

import os
import subprocess
import sys

import pytest
import torch

from hacore.machine.device import multiplies_bfloat16

CPU = torch.device("cpu")


@pytest.fixture
def processor(monkeypatch):
    """processor("amx_tile", kernels="AVX2"): a CPU with these instructions, and torch's kernels for it."""

    def pretend(*instructions, kernels="AVX512", onednn=True):
        for name in ("avx512_bf16", "amx_tile"):
            monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in instructions)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: kernels)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
            monkeypatch.delenv(name, raising=False)

    return pretend


@pytest.mark.parametrize("instructions", [["avx512_bf16"], ["amx_tile"], ["avx512_bf16", "amx_tile"]])
def test_a_cpu_with_instructions_for_it(processor, instructions):
    processor(*instructions)
    assert multiplies_bfloat16(CPU)


@pytest.mark.parametrize("kernels", ["AVX512", "AVX2", "DEFAULT", "NO AVX"])
def test_a_cpu_without(processor, kernels):
    processor(kernels=kernels)
    assert not multiplies_bfloat16(CPU)


@pytest.mark.parametrize("kernels", ["AVX2", "DEFAULT"])
def test_a_cpu_whose_newer_instructions_torch_is_kept_from(processor, kernels):
    processor("avx512_bf16", "amx_tile", kernels=kernels)
    assert not multiplies_bfloat16(CPU)


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("AVX2", False),
        ("avx512_core", False),
        ("AVX512_CORE_VNNI", False),
        ("AVX512_CORE_BF16", True),
        ("AVX10_1_512_AMX", True),
        ("DEFAULT", True),
        ("", True),
    ],
)
def test_a_cpu_whose_newer_instructions_onednn_is_kept_from(
    processor, monkeypatch, variable, limit, expected
):
    processor("avx512_bf16", "amx_tile")
    monkeypatch.setenv(variable, limit)
    assert multiplies_bfloat16(CPU) == expected


def test_a_torch_that_cannot_tell_or_has_no_onednn(processor, monkeypatch):
    processor("avx512_bf16", onednn=False)
    assert not multiplies_bfloat16(CPU)
    processor("avx512_bf16", "amx_tile")
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.delattr(torch.cpu, f"_is_{name}_supported")
    assert not multiplies_bfloat16(CPU)


@pytest.mark.parametrize(("device", "expected"), [("cuda:1", True), ("mps", False)])
def test_other_devices(processor, device, expected):
    processor()
    assert multiplies_bfloat16(torch.device(device)) == expected


PROGRAM = """
import torch
from hacore.machine.device import multiplies_bfloat16
x = torch.ones(64, 64, dtype=torch.bfloat16)
x @ x
print("told", multiplies_bfloat16(torch.device("cpu")))
"""


@pytest.mark.parametrize("limit", ["", "AVX512_CORE", "AVX2"])
def test_it_is_what_onednn_does_here(limit):
    """oneDNN names the kernel of each product: where we say so, it is one with these instructions."""
    environment = {name: text for name, text in os.environ.items() if name != "ATEN_CPU_CAPABILITY"}
    environment |= {"ONEDNN_MAX_CPU_ISA": limit or "DEFAULT", "ONEDNN_VERBOSE": "1"}
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    kernels = [line for line in lines if "exec,cpu,matmul" in line]
    if "told True" in lines:
        assert any("bf16" in line.split("undef")[0] or "amx" in line for line in kernels), ended.stdout
    else:
        assert not any("avx512_core_bf16" in line or "amx" in line for line in kernels), ended.stdout
