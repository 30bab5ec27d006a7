"""The torch backend gives what the transformers model gives."""

import gc
import sys
import threading
import weakref
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering
from transformers.modeling_outputs import BaseModelOutput

from actors.backends.base import BatchLayout, PassOutput, PassRequest
from actors.backends.pytorch.torch_backend import TorchBackend, _Launched, _TorchPass
from actors.backends.pytorch.torch_weights import load_model
from actors.batch import Batch
from actors.engine.collate import collate
from actors.errors import ModelError, OutOfMemory
from actors.parameters import ModelParameters, QAParameters
from tests.actors.conftest import Loaded
from tests.actors.helpers import MODELS, prepare
from tests.waiting import until

PAIRS = [
    ("Who lit the lamp?", "Agnes Bell lit it in 1837."),
    ("How many?", "Ada keeps three goats in Brindle, and one more."),
]


def _batch(model: Loaded) -> Batch:
    prepared, _ = prepare(model.spec, QAParameters(), PAIRS)
    return collate(prepared, model.spec.pair, np.arange(2), model.spec.pad_id, model.spec.uses_type_ids)


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_pooled_states_are_those_of_the_model(models: dict[str, Loaded], name: str) -> None:
    model = models[name]
    batch = _batch(model)
    weights = np.random.default_rng(0).random(batch.input_ids.shape).astype(np.float32)
    weights *= np.arange(batch.width) < batch.lengths[:, None]
    output = model.backend.forward(batch, True, weights[:, None])

    reference = AutoModelForQuestionAnswering.from_pretrained(model.folder).eval()
    encoded = model.spec.tokenizer().encode_batch(PAIRS)
    for row, encoding in enumerate(encoded):
        inputs = {"input_ids": torch.tensor([encoding.ids])}
        if model.spec.uses_type_ids:
            inputs["token_type_ids"] = torch.tensor([encoding.type_ids])
        with torch.no_grad():
            logits = reference(**inputs)
            states = reference.base_model(**inputs)[0][0].numpy()
        length = len(encoding.ids)
        assert output.start_logits is not None
        assert output.end_logits is not None
        assert output.pooled is not None
        np.testing.assert_allclose(output.start_logits[row, :length], logits.start_logits[0], atol=1e-5)
        np.testing.assert_allclose(output.end_logits[row, :length], logits.end_logits[0], atol=1e-5)
        np.testing.assert_allclose(output.pooled[row, 0], weights[row, :length] @ states, atol=1e-4)
    assert output.peak_bytes is None or output.peak_bytes > 0, "a CPU tells only of a new high"


def test_only_what_was_asked_for_comes_back(models: dict[str, Loaded]) -> None:
    model = models["bert"]
    batch = _batch(model)
    spans = model.backend.forward(batch, True, None)
    assert spans.pooled is None
    assert spans.start_logits is not None
    vectors = model.backend.forward(batch, False, np.ones((2, 3, batch.width), dtype=np.float32))
    assert (vectors.start_logits, vectors.end_logits) == (None, None)
    assert vectors.pooled is not None
    assert vectors.pooled.shape == (2, 3, model.backend.hidden_size) == (2, 3, 32)


def test_an_encoder_without_a_head_pools(models: dict[str, Loaded]) -> None:
    model = models["distilbert"]
    headless = TorchBackend(load_model(model.folder, with_qa_head=False), ModelParameters(device="cpu"))
    batch = _batch(model)
    weights = np.ones(batch.input_ids.shape, dtype=np.float32) * (np.arange(batch.width) < batch.lengths[:, None])
    mine, theirs = (backend.forward(batch, False, weights[:, None]).pooled for backend in (headless, model.backend))
    assert mine is not None
    assert theirs is not None
    np.testing.assert_allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_lower_precision_still_answers_in_float32(models: dict[str, Loaded], dtype: str) -> None:
    model = models["distilbert"]
    parameters = ModelParameters.model_validate({"device": "cpu", "dtype": dtype})
    low = TorchBackend(load_model(model.folder, with_qa_head=True), parameters)
    batch = _batch(model)
    weights = np.ones((batch.windows, 1, batch.width), dtype=np.float32)
    mine, exact = low.forward(batch, True, weights), model.backend.forward(batch, True, weights)
    assert mine.start_logits is not None
    assert exact.start_logits is not None
    assert mine.pooled is not None
    assert mine.start_logits.dtype == mine.pooled.dtype == np.float32
    inside = np.arange(batch.width) < batch.lengths[:, None]
    difference = np.abs(mine.start_logits - exact.start_logits)[inside]
    assert 0 < difference.max() < 0.5


def test_one_thread_with_the_threads_of_the_parameters_makes_all_passes(models: dict[str, Loaded]) -> None:
    network = load_model(models["distilbert"].folder, with_qa_head=True)
    backend = TorchBackend(network, ModelParameters(device="cpu", threads=3))
    seen: list[tuple[int, int]] = []
    head: Any = network.qa_outputs
    head.register_forward_hook(lambda *_: seen.append((threading.get_ident(), torch.get_num_threads())))
    batch = _batch(models["distilbert"])
    callers = [threading.Thread(target=backend.forward, args=(batch, True, None)) for _ in range(3)]
    for caller in callers:
        caller.start()
        caller.join()
    backend.forward(batch, True, None)
    assert len(seen) == 4
    assert len(set(seen)) == 1
    assert seen[0][1] == 3
    assert seen[0][0] != threading.get_ident()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_cpu_names_what_the_machine_has_left(models: dict[str, Loaded]) -> None:
    limit = models["bert"].backend.memory_limit
    assert limit is not None
    assert limit > 0


def test_a_host_without_room_is_out_of_memory(models: dict[str, Loaded]) -> None:
    network = load_model(models["distilbert"].folder, with_qa_head=True)
    backend = TorchBackend(network, ModelParameters(device="cpu"))

    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 GB")

    head: Any = network.qa_outputs
    allocator = head.register_forward_pre_hook(full)
    with pytest.raises(OutOfMemory, match="can't allocate memory"):
        backend.forward(_batch(models["distilbert"]), True, None)
    allocator.remove()
    assert backend.forward(_batch(models["distilbert"]), True, None).start_logits is not None, "it goes on afterwards"


def test_other_errors_stay_what_they_are(models: dict[str, Loaded]) -> None:
    model = models["distilbert"]
    batch = _batch(model)
    wrong = replace(batch, ids=batch.ids + 10_000)
    with pytest.raises((IndexError, RuntimeError)):
        model.backend.forward(wrong, True, None)


def test_a_pass_that_cannot_be_prepared_fails_when_it_is_collected(models: dict[str, Loaded]) -> None:
    batch = _batch(models["distilbert"])
    wrong = replace(batch, lengths=batch.lengths + 1000)
    submitted = models["distilbert"].backend.submit(PassRequest(wrong, want_spans=True))
    assert submitted.is_done
    with pytest.raises((IndexError, ValueError)):
        submitted.collect()


class _LostTimer:
    """As of a GPU whose last kernel broke it: every call says so."""

    @property
    def is_over(self) -> bool:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def stop(self) -> None:
        raise AssertionError

    def seconds(self) -> float:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_a_lost_device_is_found_out_when_a_pass_is_collected() -> None:
    launched: Future[_Launched] = Future()
    launched.set_result(_Launched(_LostTimer(), None))
    submitted = _TorchPass(launched, _Nothing())
    assert submitted.is_done, "nobody waits for it"
    with pytest.raises(RuntimeError, match="illegal memory access"):
        submitted.collect()


class _Nothing:
    def launch(self) -> None:
        raise AssertionError

    def read(self) -> PassOutput:
        raise AssertionError


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_reports_its_memory_and_agrees_with_the_cpu(models: dict[str, Loaded]) -> None:
    model = models["bert"]
    gpu = TorchBackend(load_model(model.folder, with_qa_head=True), ModelParameters(device="cuda"))
    batch = _batch(model)
    mine, cpu = gpu.forward(batch, True, None), model.backend.forward(batch, True, None)
    assert gpu.memory_limit is not None
    assert gpu.memory_limit > 0
    assert mine.peak_bytes is not None
    assert mine.peak_bytes > 0
    assert mine.start_logits is not None
    assert cpu.start_logits is not None
    inside = np.arange(batch.width) < batch.lengths[:, None]
    np.testing.assert_allclose(mine.start_logits[inside], cpu.start_logits[inside], atol=1e-3)


def _something_else(module: torch.nn.Module, inputs: object, output: BaseModelOutput) -> BaseModelOutput:
    return BaseModelOutput(output[0] + 0.01)


@pytest.mark.parametrize("layout", BatchLayout)
def test_the_weights_go_with_the_backend(models: dict[str, Loaded], layout: BatchLayout) -> None:
    module = load_model(models[MODELS[0]].folder, with_qa_head=True)
    if layout is BatchLayout.PADDED:
        module.base_model.register_forward_hook(_something_else)
    weights = weakref.ref(module.get_input_embeddings())
    backend = TorchBackend(module, ModelParameters(device="cpu", threads=1))
    assert backend.layout is layout
    batch = _batch(models[MODELS[0]])
    backend.forward(batch, True, np.zeros((batch.windows, 1, batch.width), np.float32))
    gc.collect()
    gc.disable()
    try:
        del module, backend
        until(lambda: weights() is None)  # its thread lets go of it once it is idle
    finally:
        gc.enable()


@pytest.mark.parametrize("device", ["gpu", "cuda:x", *(() if torch.cuda.is_available() else ("cuda", "cuda:1"))])
def test_a_device_that_is_not_there_is_named(models: dict[str, Loaded], device: str) -> None:
    module = load_model(models["bert"].folder, with_qa_head=True)
    with pytest.raises(ModelError, match=f"model.device: .*{device}"):
        TorchBackend(module, ModelParameters(device=device))
