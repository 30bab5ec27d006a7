"""The fingerprint of what a model folder computes."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

MODEL_TEXTS = ("*.json", "*.txt", "*.model")
"""Patterns of the files beside the weights: config and tokenizer."""


def content_fingerprint(folder: Path, weights: Sequence[str]) -> str:
    """SHA-256, in hex, over the names and bytes of the files that decide what the model computes.

    Args:
        weights: patterns of weight files, best first; files of the first that matches any are read.
    """
    digest = hashlib.sha256()
    for path in _files_that_count(folder, weights):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _counts(name: str) -> bool:
    return "index" not in name and "README" not in name and not name.startswith("_")


def weight_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """The weight files of a model folder: those of the first pattern that matches any; none where nothing does."""
    return next((found for pattern in patterns if (found := list(folder.glob(pattern)))), [])


def _files_that_count(folder: Path, weight_patterns: Sequence[str]) -> list[Path]:
    texts = [p for pattern in MODEL_TEXTS for p in folder.glob(pattern) if _counts(p.name)]
    return sorted({*weight_files(folder, weight_patterns), *texts})
