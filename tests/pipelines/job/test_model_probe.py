"""What the driver finds out of a model before it plans."""

import json
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from transformers import FNetConfig, FNetForQuestionAnswering

from actors.backends.base import ModelOutput
from actors.backends.layer_output import ModelDepth
from actors.engine.column_sizes import WindowShape
from actors.errors import ModelError
from actors.models.hub import find_model
from actors.models.runtime_choice import RuntimeChoice, as_baseline, candidates, remember
from actors.parameters import EmbeddingParameters
from pipelines.config.job import AnswerConfig, EmbedConfig, OfflineConfig
from pipelines.config.loader import load_config
from pipelines.errors import JobError
from pipelines.job.model_probe import asks_cluster, computes_on_gpus, probe_model
from tests.actors.exports import exported
from tests.actors.helpers import GOLDEN
from tests.pipelines.processes import deaf_address

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


def test_the_depth_of_a_model_is_known_where_a_job_looks_into_it(untrained_model: Path) -> None:
    assert probe_model(_words(f"model.name={untrained_model}")).depth is None
    looking = _words(f"model.name={untrained_model}", "output.columns=[hidden]")
    described = json.loads((untrained_model / "config.json").read_text())
    probed = probe_model(looking)
    assert probed.depth == ModelDepth(described["n_layers"], described["n_heads"])
    assert probed.cut == WindowShape(384, 128)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["output.columns=[token_vectors]", "token_vectors.layers=[1,40]"],
            r"token_vectors.layers names layer 40, .* has",
        ),
        (["output.columns=[attention]", "attention.layers=[40]"], r"attention.layers names layer 40, .* from 1 to"),
        (["output.columns=[attribution]", "model.backend='null'"], r"attention cannot be had .* [(]torch has it[)]"),
        (
            ["output.columns=[hidden]", "model.backend='null'"],
            r"hidden states of all layers cannot .*torch has them",
        ),
    ],
)
def test_layers_that_cannot_be_had_are_refused_before_a_job_is_planned(
    untrained_model: Path, words: list[str], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        probe_model(_words(f"model.name={untrained_model}", *words))


def test_dense_attention_beyond_what_a_row_may_have_is_refused_with_what_to_ask_for() -> None:
    """The model that ships has 6 layers of 12 heads: windows of 384 tokens are within, and those of 512 are not."""
    words = ["model.name=minilm-qa", "output.columns=[attention]", "attention.top=null"]
    assert probe_model(_words(*words)).depth == ModelDepth(6, 12)
    with pytest.raises(ModelError, match=r"window of 512 tokens would have 72 MB.* set attention.top, such as 8"):
        probe_model(_words(*words, "qa.max_seq_len=512"))
    assert probe_model(_words(*words, "qa.max_seq_len=512", "attention.layers=[1,6]")).depth is not None


def test_a_model_without_attention_is_refused_before_a_job_is_planned(tmp_path: Path) -> None:
    """FNet mixes tokens by Fourier transforms."""
    folder = copytree(GOLDEN / "models" / "bert", tmp_path / "fnet")
    size: dict[str, Any] = {"vocab_size": 900, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
    FNetForQuestionAnswering(FNetConfig(**size, pad_token_id=0, tpu_short_seq_length=64)).save_pretrained(folder)
    with pytest.raises(ModelError, match="heads"):
        probe_model(_words(f"model.name={folder}", "output.columns=[answers,attribution]"))


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


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that is named, nor one that other tests of this process have connected to."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: False)


def _words(*words: str) -> AnswerConfig:
    return load_config(AnswerConfig, None, list(words))


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize(
    ("words", "asks"),
    [
        ((), False),
        (("pool.kind=serve",), True),
        (("pool.kind=serve", "model.precision=exact"), False),
        (("pool.kind=serve", "model.dtype=float16"), False),
        (("ray.address=mill:6379",), True),
        (("ray.address=mill:6379", "pool.gpus=1"), False),
        (("ray.address=mill:6379", "model.device=cpu"), False),
        (("ray.address=mill:6379", "model.backend='null'"), False),
    ],
)
def test_a_cluster_is_asked_where_nothing_else_can_tell(words: tuple[str, ...], asks: bool) -> None:
    assert asks_cluster(_words(*words), None) is asks


@pytest.mark.usefixtures("no_cluster")
def test_a_cluster_that_cannot_be_asked_is_no_guess(untrained_model: Path) -> None:
    with deaf_address() as address, pytest.raises(JobError, match=f"ray.address: {address} cannot be used"):
        probe_model(_words(f"model.name={untrained_model}", f"ray.address={address}"))


@pytest.mark.usefixtures("no_cluster")
def test_gpus_that_the_runtime_does_not_see_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for sees in (False, True):
        monkeypatch.setattr("torch.cuda.is_available", lambda sees=sees: sees)
        assert computes_on_gpus(_words("pool.gpus=1"), with_gpus=True) is sees
        assert computes_on_gpus(_words("ray.address=mill:6379"), with_gpus=True), "other machines have other ones"
        assert not computes_on_gpus(_words(), with_gpus=False)


def test_of_an_export_at_a_url_a_remembered_runtime_is_tried_without_a_conversion(
    conversions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = exported(GOLDEN / "models" / "bert", tmp_path / "bert", ("ctranslate2", "float32"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = {"name": f"file://{export}", "backend": "auto", "device": "cpu", "threads": 1}
    config = AnswerConfig.model_validate({"model": model})
    folder = find_model(as_baseline(config.model))
    found = candidates(folder, config.model, frozenset({ModelOutput.LOGITS}), on_gpu=False)
    remember(folder, config.model, False, found, RuntimeChoice("ctranslate2", "float32", "2 times torch"))
    runtime = probe_model(config).runtime
    assert runtime is not None
    assert runtime.backend == "ctranslate2", runtime.reason
    made = [path.name for path in (tmp_path / "cache/spanmill/converted").iterdir() if path.is_dir()]
    assert [name.rpartition("-")[0] for name in made] == ["exported-ctranslate2"], "figures alone"
