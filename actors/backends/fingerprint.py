"""The fingerprint of what a model folder computes."""

import hashlib
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

MODEL_TEXTS = ("*.json", "*.txt", "*.model")
"""Patterns of the files beside the weights: config and tokenizer."""
_SETTLED_SECONDS = 2.0
"""A file that was changed later than this ago may be changed once more without another time of change."""


def content_fingerprint(folder: Path, weights: Sequence[str]) -> str:
    """SHA-256, in hex, over the names and bytes of the files that decide what the model computes.

    Args:
        weights: patterns of weight files, best first; files of the first that matches any are read.
    """
    digest = hashlib.sha256()
    for path in _files_that_count(folder, weights):
        digest.update(path.name.encode() + b"\0")
        digest.update(file_digest(path))
    return digest.hexdigest()


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file. A process reads a file once for it, unless the file was changed a moment ago, or is since.

    Raises:
        OSError: it cannot be read.
    """
    found = path.stat()
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    if time.time() - changed / 1e9 < _SETTLED_SECONDS:
        return _digest(path)
    return _digest_once(path.resolve(), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@lru_cache(maxsize=1024)
def _digest_once(path: Path, *_identity: int) -> bytes:
    return _digest(path)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _counts(name: str) -> bool:
    return "index" not in name and "README" not in name and not name.startswith("_")


def weight_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """The weight files of a model folder: those of the first pattern that matches any; none where nothing does."""
    return next((found for pattern in patterns if (found := list(folder.glob(pattern)))), [])


def _files_that_count(folder: Path, weight_patterns: Sequence[str]) -> list[Path]:
    texts = [p for pattern in MODEL_TEXTS for p in folder.glob(pattern) if _counts(p.name)]
    return sorted({*weight_files(folder, weight_patterns), *texts})
