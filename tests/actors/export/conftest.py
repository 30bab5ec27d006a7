"""Golden models in forms, once for a module: a conversion takes seconds."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from actors.backends.base import Backend
from actors.backends.converted.conversion_cache import names_head
from actors.backends.pytorch.torch_backend import TorchBackend
from actors.backends.pytorch.torch_weights import load_model
from actors.batch import Batch
from actors.export.form import ExportForm, ExportTools, find_form
from actors.parameters import ModelParameters
from tests.actors.helpers import GOLDEN

TOOLS = ExportTools(threads=1)
LOGITS, HIDDEN = ("start_logits", "end_logits"), ("hidden",)
"""Fields of a `PassOutput`."""
Exported = Callable[..., Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """`exported(model, form, *precisions)`: a folder with the base and these, without any check."""

    @cache
    def written(name: str, form_name: str, precisions: tuple[str, ...]) -> Path:
        form = find_form(form_name)
        folder, output = GOLDEN / "models" / name, tmp_path_factory.mktemp(name)
        find_form("safetensors").write(folder, output, "float32", names_head(folder), TOOLS)
        for precision in precisions:
            if (form.name, precision) != ("safetensors", "float32"):
                form.write(folder, output, precision, names_head(folder), TOOLS)
        return output

    def export(name: str, form: ExportForm, *precisions: str) -> Path:
        return written(name, form.name, precisions)

    return export


def golden_batch(has_types: bool) -> Batch:
    """Two windows of other lengths, so that one is padded."""
    lengths = np.array((9, 21), dtype=np.int64)
    ids = np.random.default_rng(1).integers(10, 800, lengths.sum(), dtype=np.int32)
    types = np.concatenate([np.arange(n) >= n // 2 for n in lengths]).astype(np.int32) if has_types else None
    return Batch(ids, types, lengths, np.ones_like(lengths), lengths - 2, None, pad_id=0)


def golden_backend(name: str) -> Backend:
    """What the golden model computes in torch."""
    return TorchBackend(
        load_model(GOLDEN / "models" / name, with_qa_head=True), ModelParameters(device="cpu", threads=1)
    )


def assert_close(
    found: Backend, expected: Backend, batch: Batch, atol: float, outputs: Sequence[str] = (*LOGITS, *HIDDEN)
) -> None:
    """The outputs that are named, of tokens that are no padding."""
    has_head = "start_logits" in outputs
    one, other = (backend.forward(batch, has_head, None, want_hidden=True) for backend in (found, expected))
    for name in outputs:
        mine, theirs = getattr(one, name), getattr(other, name)
        for row, length in enumerate(batch.lengths):
            np.testing.assert_allclose(mine[row, :length], theirs[row, :length], atol=atol)
