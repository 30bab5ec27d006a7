"""Converted golden models, once per session: a conversion takes seconds."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.backends.base import Backend
from actors.batch import Batch
from actors.models.loading import load_backend
from actors.parameters import ModelParameters
from tests.actors.helpers import GOLDEN

LoadGolden = Callable[[str, str, str], Backend]


@pytest.fixture(scope="session")
def golden(cache_home: Path) -> LoadGolden:
    """A golden model with its QA head in a runtime and a type."""

    @cache
    def load(backend: str, dtype: Any, name: str) -> Backend:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(cache_home))
            model = ModelParameters(backend=backend, dtype=dtype, device="cpu", threads=1)
            return load_backend(GOLDEN / "models" / name, model, with_qa_head=True)

    return load


def random_batch(lengths: tuple[int, ...], with_types: bool = False, seed: int = 0) -> Batch:
    """Windows of random tokens, none of them special, with the second half of each of another type."""
    sizes = np.array(lengths, dtype=np.int64)
    ids = np.random.default_rng(seed).integers(10, 800, sizes.sum(), dtype=np.int32)
    types = np.concatenate([np.arange(n) >= n // 2 for n in lengths]).astype(np.int32) if with_types else None
    return Batch(ids, types, sizes, np.ones_like(sizes), sizes - 2, None, pad_id=0)
