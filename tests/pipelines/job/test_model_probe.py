"""What the driver finds out of a model before it plans."""

import json
from pathlib import Path

import pytest

from actors.errors import ModelError
from actors.parameters import EmbeddingParameters
from pipelines.config.job import AnswerConfig, EmbedConfig, OfflineConfig
from pipelines.job.model_probe import probe_model

WITHOUT_VECTORS = """
from dataclasses import replace

from actors.backends.base import ModelOutput
from actors.backends.null import RUNTIME

LOGITS_ONLY = replace(RUNTIME, outputs=frozenset({ModelOutput.LOGITS}))
"""


def _config(kind: type[AnswerConfig] | type[EmbedConfig], model: Path, backend: str) -> OfflineConfig:
    return kind.model_validate({"model": {"name": str(model), "backend": backend}})


def test_a_model_is_known_by_its_fingerprint_its_width_and_its_speed(untrained_model: Path) -> None:
    probed = probe_model(_config(AnswerConfig, untrained_model, "null"))
    assert len(probed.fingerprint) == 64
    assert probed.hidden_size == json.loads((untrained_model / "config.json").read_text())["dim"]
    assert probed.tokens_per_second > 0


def test_a_job_that_the_runtime_cannot_do_is_refused_before_it_is_planned(
    untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "without_vectors.py").write_text(WITHOUT_VECTORS)
    monkeypatch.syspath_prepend(tmp_path)
    answer = _config(AnswerConfig, untrained_model, "without_vectors:LOGITS_ONLY")
    assert probe_model(answer).tokens_per_second > 0
    beside = answer.model_copy(update={"embedding": EmbeddingParameters()})
    for config in (beside, _config(EmbedConfig, untrained_model, "without_vectors:LOGITS_ONLY")):
        with pytest.raises(ModelError, match=r"pooled vectors cannot be had .* only logits"):
            probe_model(config)


RECORDING = """
from dataclasses import replace

from actors.backends.null import RUNTIME as NULL

loaded = []


def load(folder, model, with_qa_head):
    loaded.append((model.device, model.dtype))
    return NULL.load(folder, model, with_qa_head)


RUNTIME = replace(NULL, load=load)
NEEDS_GPU = replace(NULL, load=load, runs_on_cpu=False)
"""


def test_the_driver_tries_the_model_on_its_cpu_whatever_the_actors_have(
    untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recording.py").write_text(RECORDING)
    monkeypatch.syspath_prepend(tmp_path)
    plain = _config(AnswerConfig, untrained_model, "recording:RUNTIME")
    half = {"dtype": "bfloat16"}
    on_gpus = plain.pool.model_copy(update={"gpus": 0.5})
    configs = [
        plain.model_copy(update={"model": plain.model.model_copy(update=half)}),
        plain.model_copy(update={"model": plain.model.model_copy(update=half), "pool": on_gpus}),
        plain.model_copy(update={"model": plain.model.model_copy(update=half | {"device": "cuda:1"})}),
        plain.model_copy(update={"model": plain.model.model_copy(update={"backend": "recording:NEEDS_GPU"})}),
    ]
    slow, fast, named, _ = (probe_model(config).tokens_per_second for config in configs)
    import recording  # type: ignore[import-not-found]

    assert recording.loaded == [("cpu", "bfloat16"), ("cpu", "float32"), ("cpu", "float32"), ("auto", "float32")]
    assert min(fast, named) > 5 * slow
