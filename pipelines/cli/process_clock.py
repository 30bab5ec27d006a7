"""How long the user has waited: since the process began, imports and planning included."""

import os
import time
from pathlib import Path

_IMPORTED = time.monotonic()
_STAT = Path("/proc/self/stat")
_START = 19
"""Of the fields behind the command's name: clock ticks from the machine's start to that of the process."""


def seconds_waited() -> float:
    """Seconds since this process began; where the system does not tell, since this module was imported."""
    since_import = time.monotonic() - _IMPORTED
    try:
        ticks = int(_STAT.read_text().rpartition(")")[2].split()[_START])
        waited = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return since_import
    # A container may show the start by another clock than its own.
    return waited if waited >= since_import else since_import
