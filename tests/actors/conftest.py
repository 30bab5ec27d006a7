"""Loaded models, once per session."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import pytest

from actors.backends.base import Backend
from actors.backends.pytorch.torch_backend import TorchBackend
from actors.backends.pytorch.torch_weights import load_model
from actors.engine.engine import Engine
from actors.models.loading import load_spec
from actors.parameters import BatchingParameters, ModelParameters
from actors.tokenization.encoder_spec import EncoderSpec
from tests.actors.helpers import GOLDEN, MODELS


@dataclass(frozen=True)
class Loaded:
    """A golden model on the CPU."""

    folder: Path
    spec: EncoderSpec
    backend: Backend

    def engine(self, batching: BatchingParameters | None = None) -> Engine:
        """A new engine (with a batcher that knows nothing) over the same weights."""
        return Engine(self.backend, self.spec, batching or BatchingParameters())


@pytest.fixture(scope="session")
def models() -> dict[str, Loaded]:
    """The golden models by name."""
    loaded = {}
    for name in MODELS:
        folder = GOLDEN / "models" / name
        backend = TorchBackend(load_model(folder, with_qa_head=True), ModelParameters(device="cpu"))
        loaded[name] = Loaded(folder, load_spec(folder), backend)
    return loaded


@pytest.fixture(scope="session")
def engines(models: dict[str, Loaded]) -> dict[str, Engine]:
    """An engine for each golden model."""
    return {name: model.engine() for name, model in models.items()}


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[str], Path]:
    """Copies a golden model into the test's own folder, where it may be spoilt."""

    def copy(name: str) -> Path:
        return Path(copytree(GOLDEN / "models" / name, tmp_path / name))

    return copy
