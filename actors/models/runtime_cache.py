"""The choices of a runtime that this machine remembers: a small file for each model and precision."""

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from actors.cache import cache_folder, replace_file
from actors.processor import this_processor
from actors.version import installed, release


def remember(key: Sequence[str], packages: Sequence[str], choice: Mapping[str, Any]) -> None:
    """Keeps a choice in place of an earlier one; where that cannot be written, it is not kept, and nobody fails.

    Args:
        key: texts that say what it is the choice for; the kind of this machine is part of it anyway.
        packages: whose versions are part of it, too.
    """
    path = _path(key, packages)
    data = orjson.dumps({"choice": choice, "day": datetime.now(UTC).date().isoformat(), "machine": machine()})
    with suppress(OSError):
        replace_file(path, data)


def remembered(key: Sequence[str], packages: Sequence[str]) -> dict[str, Any] | None:
    """`choice` and the `day` of it; None where there is none, or the file is damaged."""
    try:
        kept = orjson.loads(_path(key, packages).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return kept if isinstance(kept, dict) else None


def machine() -> str:
    """The kind of this machine: its CPU, how many cores this process may use, and its GPUs."""
    return ", ".join([this_processor().name, f"{len(os.sched_getaffinity(0))} cores", *_gpus()])


def _path(key: Sequence[str], packages: Sequence[str]) -> Path:
    versions = [(name, installed(name) or "") for name in packages]
    told = repr((machine(), release(), platform.python_version(), list(key), versions))
    return cache_folder("runtimes") / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.json"


def _gpus() -> list[str]:
    """Names of NVIDIA's GPUs; without a package of theirs, which takes seconds to import."""
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    try:
        lines = [line for file in files for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return []
    return [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
