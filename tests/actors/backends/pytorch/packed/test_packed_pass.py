"""A packed pass gives what a padded pass of the same model gives, place for place."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from actors.backends.base import PassRequest
from actors.backends.pytorch.packed.attention import attend_by_length, variable_length_kernel
from actors.backends.pytorch.packed.packed_pass import packed_pass
from actors.backends.pytorch.padded_pass import PaddedPass
from actors.backends.pytorch.prepared_pass import run
from tests.actors.conftest import Loaded
from tests.actors.helpers import MODELS, batch_of

CPU = torch.device("cpu")


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, models: dict[str, Loaded]) -> PreTrainedModel:
    folder: Path = models[request.param].folder
    loaded: PreTrainedModel = AutoModelForQuestionAnswering.from_pretrained(folder, dtype="float32").eval()
    return loaded


@torch.inference_mode()
def test_it_gives_what_a_padded_pass_gives(model: PreTrainedModel) -> None:
    batch = batch_of(model, lengths=[9, 30, 4, 9, 17])
    real = np.arange(batch.width) < batch.lengths[:, None]
    rng = np.random.default_rng(0)
    weights = rng.random((5, 3, batch.width)).astype(np.float32) * real[:, None]
    counted = (rng.random((5, 2, batch.width)) < 0.3) & real[:, None]
    request = PassRequest(batch, True, weights, True, max_tokens=counted)
    theirs = run(PaddedPass(model), request, CPU)
    packed = packed_pass(model)
    assert packed is not None
    mine = run(packed, request, CPU)
    for name in ("start_logits", "end_logits", "hidden"):
        np.testing.assert_allclose(getattr(mine, name)[real], getattr(theirs, name)[real], atol=1e-5)
    assert mine.pooled is not None
    assert theirs.pooled is not None
    np.testing.assert_allclose(mine.pooled, theirs.pooled, atol=1e-4)
    assert mine.maxima is not None
    assert theirs.maxima is not None
    np.testing.assert_allclose(mine.maxima, theirs.maxima, atol=1e-5)
    assert mine.hidden is not None
    for window, several in enumerate(counted):
        for row, one in enumerate(several):
            largest = mine.hidden[window, one].max(axis=0, initial=-np.inf)
            np.testing.assert_array_equal(mine.maxima[window, row], largest)


@torch.inference_mode()
def test_only_what_was_asked_for_comes_back(model: PreTrainedModel) -> None:
    batch, packed = batch_of(model, lengths=[5, 3]), packed_pass(model)
    assert packed is not None
    spans = run(packed, PassRequest(batch, True), CPU)
    assert (spans.pooled, spans.hidden) == (None, None)
    assert spans.maxima is None
    pooled = run(packed, PassRequest(batch, False, np.ones((2, 1, 5), np.float32)), CPU)
    assert (pooled.start_logits, pooled.end_logits, pooled.hidden) == (None, None, None)


@torch.inference_mode()
def test_a_vector_has_the_same_bits_beside_others(model: PreTrainedModel) -> None:
    batch, packed = batch_of(model, lengths=[9, 30, 4]), packed_pass(model)
    assert packed is not None
    weights = np.random.default_rng(0).random((3, 4, batch.width)).astype(np.float32)
    several = run(packed, PassRequest(batch, False, weights), CPU).pooled
    assert several is not None
    for row in range(4):
        alone = run(packed, PassRequest(batch, False, weights[:, row : row + 1]), CPU).pooled
        np.testing.assert_array_equal(several[:, row : row + 1], alone)


def test_a_model_that_computes_something_else_is_padded(
    model: PreTrainedModel, caplog: pytest.LogCaptureFixture
) -> None:
    model.base_model.register_forward_hook(lambda _module, _inputs, output: (output[0] + 0.01,))
    assert packed_pass(model) is None
    (said,) = caplog.messages
    assert "differ by 0.01" in said
    assert str(model.config.model_type) in said


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near_enough(model: PreTrainedModel, dtype: torch.dtype) -> None:
    assert packed_pass(torch.nn.Module.to(model, dtype=dtype)) is not None


def test_a_kernel_that_fails_is_done_without(model: PreTrainedModel, caplog: pytest.LogCaptureFixture) -> None:
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="this torch has no such kernel")
    # It has no code for a CPU.
    packed = packed_pass(model, variable_length_kernel(varlen.varlen_attn))
    assert packed is not None
    assert packed.attention is attend_by_length
    (said,) = caplog.messages
    assert "the kernel for any length fails" in said
    batch = batch_of(model, lengths=[5, 3])
    assert run(packed, PassRequest(batch, True), CPU).start_logits is not None
