"""What the machine of a run is."""

import os
import platform

from actors.processor import this_processor
from actors.version import installed
from pipelines.bench.figures import Machine

_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "bf16",
)
_PACKAGES = ("spanmill", "ray", "torch", "transformers", "onnxruntime", "openvino", "ctranslate2")


def look(gpu: str | None) -> Machine:
    """This machine, and the versions that decide its speed.

    Args:
        gpu: its name, where the model runs on one.
    """
    cpu = this_processor()
    flags = tuple(flag for flag in _FLAGS if flag in cpu.abilities)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    versions = {name: found for name in _PACKAGES if (found := installed(name))}
    return Machine(
        cpu.name, len(os.sched_getaffinity(0)), flags, round(memory, 1), gpu, platform.python_version(), versions
    )


def describe(machine: Machine) -> str:
    """One line for people."""
    cpu = f"{machine.cores} cores of {machine.cpu} ({' '.join(machine.flags) or 'no AVX2'}), {machine.memory_gb:.0f} GB"
    versions = ", ".join(f"{name} {found}" for name, found in machine.versions.items())
    return "; ".join(filter(None, (machine.gpu, cpu, f"python {machine.python}, {versions}")))
