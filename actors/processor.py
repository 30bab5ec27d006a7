"""The CPU of this machine: what it is called, and what it can do."""

import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_NAMES = ("model name", "CPU implementer", "CPU part")
"""ARM's cores have the two numbers in place of a name."""
_ABILITIES = ("flags", "Features")


@dataclass(frozen=True)
class Processor:
    """A kind of CPU: kernels are chosen by it, and so are speed and last digits."""

    name: str
    """Of all its kinds of cores."""
    abilities: frozenset[str]
    """Instruction sets and the like, as Linux names them; none where it does not say."""


def this_processor() -> Processor:
    """The CPU that this process runs on; without Linux's /proc there is less to tell."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    pairs = {(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)}
    names = sorted(value for key, value in pairs if key in _NAMES)
    abilities = {word for key, value in pairs if key in _ABILITIES for word in value.split()}
    return Processor(", ".join(names) or platform.processor() or platform.machine(), frozenset(abilities))
