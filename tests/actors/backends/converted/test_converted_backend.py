"""Every runtime of converted models gives what torch gives, alone and in company."""

import numpy as np
import pytest

from actors.backends.base import Backend, BatchLayout, PassOutput, PassRequest
from actors.batch import Batch
from tests.actors.backends.converted.conftest import LoadGolden, random_batch

EXACT = ("onnxruntime", "openvino", "ctranslate2")
# One of each with token types, and all with none: what a conversion of each would add is minutes.
CASES = [
    ("onnxruntime", "float32", "bert"),
    ("openvino", "float32", "bert"),
    ("ctranslate2", "float32", "bert"),
    ("ctranslate2", "float32", "distilbert"),
    ("ctranslate2", "float32", "roberta"),
]


def _compute(backend: Backend, batch: Batch) -> PassOutput:
    real = np.ones((batch.windows, batch.width)) if batch.real is None else batch.real
    weights = (real / batch.lengths[:, None]).astype(np.float32)[:, None]
    return backend.submit(PassRequest(batch, want_spans=True, pool_weights=weights, want_hidden=True)).collect()


def _check_equal(found: PassOutput, expected: PassOutput, batch: Batch) -> None:
    for name in ("start_logits", "end_logits", "hidden"):
        mine, other = (batch.unpad(getattr(output, name)) for output in (found, expected))
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine, other, atol=2e-4, err_msg=name)
    assert found.pooled is not None
    assert expected.pooled is not None
    np.testing.assert_allclose(found.pooled, expected.pooled, atol=2e-5)


@pytest.mark.parametrize(("runtime", "dtype", "name"), CASES)
def test_it_agrees_with_torch_in_company_and_alone(golden: LoadGolden, runtime: str, dtype: str, name: str) -> None:
    backend, torch = golden(runtime, dtype, name), golden("torch", "float32", name)
    assert (backend.device, backend.layout, backend.hidden_size) == ("cpu", BatchLayout.PADDED, torch.hidden_size)
    assert backend.memory_limit is None or backend.memory_limit > 1 << 20
    lengths = (31, 5, 200, 17)
    batch = random_batch(lengths, with_types=name == "bert")
    found = _compute(backend, batch)
    _check_equal(found, _compute(torch, batch), batch)
    ends = np.cumsum(lengths)
    for row, (length, end) in enumerate(zip(lengths, ends, strict=True)):
        types = None if batch.types is None else batch.types[end - length : end]
        size = np.array([length])
        alone = Batch(batch.ids[end - length : end], types, size, np.ones_like(size), size - 2, None, pad_id=0)
        _check_equal(_compute(backend, alone), found.part(slice(row, row + 1), length), alone)


@pytest.mark.parametrize("runtime", ["onnxruntime", "ctranslate2"])
def test_eight_bits_are_near_and_not_equal(golden: LoadGolden, runtime: str) -> None:
    batch = random_batch((40, 9, 120), with_types=True)
    found = _compute(golden(runtime, "int8", "bert"), batch).hidden
    exact = _compute(golden("torch", "float32", "bert"), batch).hidden
    assert found is not None
    assert exact is not None
    off, size = batch.unpad(found - exact), batch.unpad(exact)
    assert 1e-4 < np.linalg.norm(off) / np.linalg.norm(size) < 0.25


@pytest.mark.parametrize("runtime", EXACT)
def test_only_what_is_asked_for_is_given(golden: LoadGolden, runtime: str) -> None:
    backend, batch = golden(runtime, "float32", "bert"), random_batch((8, 8))
    spans = backend.forward(batch, want_spans=True, pool_weights=None)
    assert spans.start_logits is not None
    assert spans.start_logits.shape == (2, 8)
    assert (spans.pooled, spans.hidden) == (None, None)
    pooled = backend.forward(batch, want_spans=False, pool_weights=np.full((2, 3, 8), 1 / 8, dtype=np.float32))
    assert pooled.pooled is not None
    assert pooled.pooled.shape == (2, 3, backend.hidden_size)
    assert (pooled.start_logits, pooled.end_logits, pooled.hidden) == (None, None, None)
