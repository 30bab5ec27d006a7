"""Which half precision a model gets."""

from pathlib import Path

import pytest
import torch
from torch import nn

from actors.backends.pytorch import half_precision
from actors.backends.pytorch.half_precision import (
    _LONGEST,
    _token_ids,
    better_half,
    choose_half,
    computes_bfloat16,
    differences,
    is_slow_here,
    uses_gpu,
)
from actors.backends.pytorch.torch_weights import load_model
from actors.errors import ModelError
from actors.models.loading import load_backend
from actors.parameters import ModelParameters
from tests.actors.helpers import GOLDEN

MODELS = GOLDEN / "models"


@pytest.mark.parametrize("name", ["distilbert", "bert"])
def test_a_model_within_the_range_of_float16_gets_it_for_its_finer_steps(name: str) -> None:
    chosen = choose_half(MODELS / name, on_gpu=True)
    assert chosen.dtype == "float16"
    assert "float16 0." in chosen.reason


def _wide(folder: Path) -> nn.Module:
    """A model with a number that float16 has no room for, as some trained models have in their last feed-forward."""
    model: nn.Module = load_model(folder, with_qa_head=False).train(False)
    with torch.no_grad():
        bias = model.get_parameter("transformer.layer.0.ffn.lin2.bias")
        bias[0] = 1e5
    return model


def test_a_model_beyond_the_range_of_float16_gets_bfloat16() -> None:
    folder = MODELS / "distilbert"
    off = differences(_wide(folder), _token_ids(folder))
    assert off["bfloat16"] < 0.1
    chosen = better_half(off, lacks_bfloat16=False)
    assert chosen.dtype == "bfloat16"
    assert "float16 leaves its range" in chosen.reason


@pytest.mark.parametrize(
    ("off", "lacks", "dtype", "said"),
    [
        ({"float16": 0.001, "bfloat16": 0.01}, False, "float16", "float16 0.10%, bfloat16 1.00%"),
        ({"float16": 0.02, "bfloat16": 0.01}, False, "bfloat16", "float16 2.00%"),
        ({"float16": float("nan"), "bfloat16": 0.01}, False, "bfloat16", "float16 leaves its range"),
        ({"float16": float("nan"), "bfloat16": 0.01}, True, "float32", "the GPU does not compute bfloat16 by itself"),
        ({"float16": float("inf"), "bfloat16": float("nan")}, False, "float32", "no half precision holds"),
    ],
)
def test_the_better_of_what_can_be_computed(off: dict[str, float], lacks: bool, dtype: str, said: str) -> None:
    chosen = better_half(off, lacks)
    assert chosen.dtype == dtype
    assert said in chosen.reason


def test_the_model_itself_is_left_as_it_is() -> None:
    model = load_model(MODELS / "bert", with_qa_head=False).train(False)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    differences(model, _token_ids(MODELS / "bert"))
    assert all(torch.equal(weights, before[name]) for name, weights in model.state_dict().items())


def test_rounding_shows_what_half_precision_gives() -> None:
    """The model in bfloat16, as torch computes it on any CPU, is about as far off as is said without that."""
    folder = MODELS / "distilbert"
    model, texts = load_model(folder, with_qa_head=False).train(False), _token_ids(folder)
    said = differences(model, texts)["bfloat16"]
    with torch.inference_mode():
        exact = half_precision._states(model, texts)
        half = torch.nn.Module.to(model, dtype=torch.bfloat16)
        states = [half(input_ids=torch.tensor([ids]))[0][0].float() for ids in texts]
        found = float((torch.cat(states) - torch.from_numpy(exact)).norm() / torch.from_numpy(exact).norm())
    assert found / 2 < said < found * 2


def test_texts_are_cut_to_what_is_tried() -> None:
    lengths = [len(ids) for ids in _token_ids(MODELS / "bert")]
    assert 3 < min(lengths) < max(lengths) <= _LONGEST


@pytest.mark.parametrize(("native", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_a_cpu_gets_bfloat16_only_where_it_computes_it_by_itself(
    monkeypatch: pytest.MonkeyPatch, native: bool, dtype: str
) -> None:
    monkeypatch.setattr(half_precision, "computes_bfloat16", lambda: native)
    chosen = choose_half(MODELS / "distilbert", on_gpu=False)
    assert chosen.dtype == dtype
    assert "CPU" in chosen.reason


def test_torch_is_asked_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for abilities, expected in (({"avx512_bf16": True}, True), ({"amx_tile": True}, True), ({"avx2": True}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda told=abilities: told, raising=False)
        for name in ("amx_tile", "avx512_bf16"):
            monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda: False, raising=False)
        assert computes_bfloat16() is expected


def test_where_half_precision_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(half_precision, "computes_bfloat16", lambda: True)
    assert [is_slow_here(dtype) for dtype in ("float32", "float16", "bfloat16")] == [False, True, False]
    assert (uses_gpu("auto"), uses_gpu("cpu"), uses_gpu("cuda:1")) == (False, False, True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert uses_gpu("auto")


def test_a_half_precision_that_a_cpu_has_to_imitate_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = ModelParameters(threads=1).in_type("float16")
    with caplog.at_level("WARNING", "spanmill.model"):
        # As an actor without a GPU of its own is told, and as a process that finds none.
        for device in ("cpu", "auto"):
            load_backend(MODELS / "distilbert", model.model_copy(update={"device": device}), with_qa_head=True)
    assert len(caplog.messages) == 2
    assert "on this CPU float16 may take many times as long as float32" in caplog.text


def test_a_device_that_torch_does_not_know_is_named() -> None:
    with pytest.raises(ModelError, match=r"model\.device: 'gpu' is no device that torch knows"):
        uses_gpu("gpu")
