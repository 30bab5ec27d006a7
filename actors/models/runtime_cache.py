"""The choices of a runtime that this machine remembers: a small file for each model and precision."""

import hashlib
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from actors.cache import cache_folder
from actors.version import release


def remember(key: Sequence[str], packages: Sequence[str], choice: Mapping[str, Any]) -> None:
    """Keeps a choice in place of an earlier one; where that cannot be written, it is not kept, and nobody fails.

    Args:
        key: texts that say what it is the choice for; the kind of this machine is part of it anyway.
        packages: whose versions are part of it, too.
    """
    path = _path(key, packages)
    data = orjson.dumps({"choice": choice, "day": datetime.now(UTC).date().isoformat(), "machine": machine()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            file.write(data)
        # Readers see the file that was there, or this one.
        os.replace(file.name, path)
    except OSError:
        return


def remembered(key: Sequence[str], packages: Sequence[str]) -> dict[str, Any] | None:
    """`choice` and the `day` of it; None where there is none, or the file is damaged."""
    try:
        kept = orjson.loads(_path(key, packages).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return kept if isinstance(kept, dict) else None


def machine() -> str:
    """The kind of this machine: its CPU, how many cores this process may use, and its GPUs."""
    return ", ".join([_cpu(), f"{len(os.sched_getaffinity(0))} cores", *_gpus()])


def _path(key: Sequence[str], packages: Sequence[str]) -> Path:
    versions = [(name, _version(name)) for name in packages]
    told = repr((machine(), release(), platform.python_version(), list(key), versions))
    return cache_folder("runtimes") / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.json"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    lines = _lines(Path("/proc/cpuinfo"))
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part")))
    return next(names, "") or platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """Names of NVIDIA's GPUs; without a package of theirs, which takes seconds to import."""
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return [line.partition(":")[2].strip() for file in files for line in _lines(file) if line.startswith("Model:")]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
