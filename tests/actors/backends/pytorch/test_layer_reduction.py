"""The torch runtime's second view of a model, and what is made small on the device."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AlbertConfig, AlbertForQuestionAnswering, PreTrainedModel

from actors.backends.base import PassOutput, PassRequest
from actors.backends.layer_output import LayerOutput, LayerRequest
from actors.backends.pytorch.layer_reduction import _heaviest, depth_of, shared_copy
from actors.backends.pytorch.torch_backend import TorchBackend
from actors.backends.pytorch.torch_weights import load_model
from actors.errors import ModelError
from actors.parameters import AttentionParameters, ModelParameters
from tests.actors.helpers import GOLDEN, MODELS, batch_of

CPU = ModelParameters(device="cpu", threads=1)
ASKED = LayerRequest(mean_of=(0, 1), attention=AttentionParameters(top=2))


def _layers(output: PassOutput) -> LayerOutput:
    assert output.layers is not None
    return output.layers


def _albert() -> PreTrainedModel:
    """A kind that the packed pass does not know."""
    size: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3, "embedding_size": 16}
    return AlbertForQuestionAnswering(AlbertConfig(**size, vocab_size=900, intermediate_size=64))


@pytest.mark.parametrize("name", [*MODELS, "albert"])
def test_a_view_shares_the_weights_and_leaves_the_usual_pass_as_it_was(name: str) -> None:
    model = _albert() if name == "albert" else load_model(GOLDEN / "models" / name, with_qa_head=True)
    backend = TorchBackend(model, CPU)
    batch = batch_of(model, [9, 5, 12])
    weights = (np.arange(12) < batch.lengths[:, None]).astype(np.float32)[:, None]
    before = backend.forward(batch, True, weights, want_hidden=True)
    view = backend.with_layers()
    assert view is backend.with_layers(), "made once"
    layers = view.submit(PassRequest(batch, True, weights, True, layers=ASKED)).collect()
    after = backend.forward(batch, True, weights, want_hidden=True)
    for values in ("start_logits", "end_logits", "pooled", "hidden"):
        np.testing.assert_array_equal(getattr(before, values), getattr(after, values))
        for row, length in enumerate(batch.lengths):
            mine, usual = (getattr(one, values)[row] for one in (layers, before))
            cut = slice(None) if values == "pooled" else slice(int(length))
            np.testing.assert_allclose(mine[cut], usual[cut], atol=1e-4)
    assert before.layers is None
    attention = _layers(layers).attention
    assert attention is not None
    assert attention.weights.shape == (3, backend.depth.layers, 2, 12, 2)
    addresses = {tensor.data_ptr() for tensor in model.parameters()}
    assert {tensor.data_ptr() for tensor in shared_copy(model).parameters()} == addresses


def test_a_backend_that_keeps_no_model_loads_it_again() -> None:
    folder, loads = GOLDEN / "models" / "bert", list[Path]()

    def load() -> PreTrainedModel:
        loads.append(folder)
        return load_model(folder, with_qa_head=True)

    kept, reloading = TorchBackend(load(), CPU), TorchBackend(load(), CPU, reload=load)
    batch = batch_of(load(), [7, 20])
    asked = PassRequest(batch, layers=ASKED)
    one, other = (_layers(backend.with_layers().submit(asked).collect()) for backend in (kept, reloading))
    assert one.mean_states is not None
    assert other.mean_states is not None
    np.testing.assert_allclose(one.mean_states, other.mean_states, atol=1e-5)
    assert len(loads) == 4, "two, the batch's, and one for the view"


def test_nothing_is_made_that_was_not_asked_for() -> None:
    model = load_model(GOLDEN / "models" / "bert", with_qa_head=True)
    batch = batch_of(model, [7, 20])
    view = TorchBackend(model, CPU).with_layers()
    weights = np.ones((2, 20), dtype=np.float32)
    pooled = _layers(view.submit(PassRequest(batch, layers=LayerRequest(layer_weights=weights))).collect())
    assert (pooled.mean_states, pooled.attention, pooled.attribution) == (None, None, None)
    assert pooled.layer_pooled is not None
    assert pooled.layer_pooled.shape == (2, 3, 32)
    plain = view.forward(batch, False, weights[:, None])
    assert plain.layers is None


def test_a_model_that_gives_no_attention_says_what_to_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(GOLDEN / "models" / "bert", with_qa_head=True)
    batch = batch_of(model, [7])
    backend = TorchBackend(model, CPU)
    monkeypatch.setattr("actors.backends.pytorch.torch_backend.with_weights_of_attention", lambda view: view)
    # As it computes usually, by a kernel that does not tell.
    view = backend.with_layers()
    asked = PassRequest(batch, layers=LayerRequest(attention=AttentionParameters()))
    with pytest.raises(ModelError, match=r"bert does not say what its tokens attend to; leave attention and"):
        view.submit(asked).collect()


def test_the_depth_of_a_model() -> None:
    depth = depth_of(load_model(GOLDEN / "models" / "distilbert", with_qa_head=False))
    assert depth is not None
    assert (depth.layers, depth.heads) == (2, 2)


def test_the_heaviest_of_equal_weights_is_the_left_one() -> None:
    weights = torch.tensor([[0.25, 0.5, 0.25, 0.0, 0.5], [0.0, 0.0, 0.0, 1.0, 0.0]])
    values, places = _heaviest(weights, None, 3)
    assert places.tolist() == [[1, 4, 0], [3, 0, 1]]
    assert values.tolist() == [[0.5, 0.5, 0.25], [1.0, 0.0, 0.0]]
    assert places.dtype is torch.int16


def test_what_is_not_allowed_comes_after_zeros_and_has_no_place() -> None:
    weights = torch.tensor([[0.0, 0.9, 0.0, 0.1]])
    values, places = _heaviest(weights, torch.tensor([[True, False, True, False]]), 10)
    assert places.tolist() == [[0, 2, -1, -1]]
    assert values.tolist() == [[0.0, 0.0, -1.0, -1.0]]
