"""A form that computes what torch does passes; one with a single weight changed is refused, with the figures."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copy

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors

from actors.arrays import Floats
from actors.backends.base import Backend, PassOutput
from actors.backends.converted.conversion import HEAD_FILE
from actors.backends.converted.parity import TOLERANCES
from actors.backends.pytorch.torch_weights import load_model
from actors.batch import Batch
from actors.errors import ModelError
from actors.export.form import ExportForm, ExportTools, find_form
from actors.export.parity import ParitySample, _affordable, check_form, measure_form
from actors.models.loading import load_backend
from actors.parameters import ModelParameters
from tests.actors.exports import exported
from tests.actors.helpers import GOLDEN

TOOLS = ExportTools(threads=1)
LAMP, GOATS = "The head keeper, Agnes Bell, lit the lamp in 1837.", "Ada keeps three goats in Brindle."
SAMPLE = ParitySample(
    ("Who lit the lamp?", "How many goats?", "When was the lamp lit?", "Where are the goats?"),
    (LAMP, GOATS, LAMP, " ".join([LAMP, GOATS] * 40)),
    (("Agnes Bell",), ("three",), (), ("Brindle",)),
    lambda answer, gold: float(answer in gold),
)
DISTILBERT = GOLDEN / "models" / "distilbert"


def _check(folder: Path, form: str, precision: str = "float32", sample: ParitySample = SAMPLE) -> None:
    check_form(find_form(form), folder, precision, TOOLS, sample)


@pytest.fixture
def folder(conversions: Path, tmp_path: Path) -> Path:
    """BERT with CTranslate2's forms."""
    forms = (("safetensors", "float32"), ("ctranslate2", "float32"), ("ctranslate2", "int8"))
    return exported(GOLDEN / "models" / "bert", tmp_path / "bert", *forms)


def test_a_form_that_computes_what_torch_does_passes_with_its_figures(folder: Path) -> None:
    found = check_form(find_form("ctranslate2"), folder, "float32", TOOLS, SAMPLE)
    assert None not in (found.hidden, found.logits, found.largest_logit)
    assert 0 < found.deviation.largest < 1e-3
    assert (found.rows, found.equal_spans) == (4, 1.0)
    assert found.f1 == found.exact_f1 is not None
    assert found.least_cosine is not None
    assert found.least_cosine > 0.99999
    assert found.rows_per_second is not None
    assert found.rows_per_second > 0


def test_eight_bits_are_farther_off_and_within_their_tolerance(folder: Path) -> None:
    found = check_form(find_form("ctranslate2"), folder, "int8", TOOLS, SAMPLE)
    assert found.hidden is not None
    assert 1e-3 < found.hidden < TOLERANCES["int8"].hidden
    assert found.least_cosine is not None
    assert 0.8 < found.least_cosine < 0.99999
    narrow = replace(find_form("ctranslate2"), tolerances={"int8": TOLERANCES["float32"]})
    with pytest.raises(ModelError, match=r"ctranslate2 in int8 is too far .* hidden states 0\.\d+, .* allowed are .*"):
        check_form(narrow, folder, "int8", TOOLS, SAMPLE)


@pytest.mark.parametrize(
    "name",
    [
        "qa_outputs.weight",
        "qa_outputs.bias",
        "distilbert.embeddings.LayerNorm.weight",
        "distilbert.transformer.layer.0.attention.v_lin.bias",
        "distilbert.transformer.layer.1.ffn.lin2.weight",
    ],
)
def test_a_form_with_one_weight_changed_is_refused(tmp_path: Path, name: str) -> None:
    folder = exported(DISTILBERT, tmp_path / "model")
    weights = load_tensors(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    _check(folder, "pytorch")
    weights[name].view(-1)[0] += 0.5
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch in float32 is too far from torch in float32: .*Leave pytorch out"):
        _check(folder, "pytorch")
    found = measure_form(find_form("pytorch"), folder, "float32", TOOLS, SAMPLE)
    assert found.deviation.exceeds(TOLERANCES["float32"])
    assert (found.rows, found.equal_spans, found.rows_per_second) == (0, None, None), "what was seen is enough"


def test_a_head_that_was_changed_beside_the_encoder_is_refused(folder: Path) -> None:
    place = folder / "ctranslate2/float32" / HEAD_FILE
    head = load_file(place)
    save_file({"weight": head["weight"] * np.float32(1.01), "bias": head["bias"]}, place)
    with pytest.raises(ModelError, match=r"ctranslate2 in float32 is too far .* logits 0\.01"):
        _check(folder, "ctranslate2")


def test_a_form_that_cannot_be_opened_is_named(folder: Path) -> None:
    (folder / "ctranslate2/float32/model.bin").write_bytes(b"broken")
    with pytest.raises(ModelError, match=r"bert: ctranslate2 in float32 cannot be compared with torch: .*export the"):
        _check(folder, "ctranslate2")


class _Changed:
    """Torch, of whose outputs some are changed."""

    def __init__(self, backend: Backend, change: Callable[[PassOutput], PassOutput]) -> None:
        self._backend, self._change = backend, change

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        return self._change(self._backend.forward(batch, want_spans, pool_weights, want_hidden))


def _changed(change: Callable[[PassOutput], PassOutput], with_qa_head: bool = True) -> ExportForm:
    def open_it(output: Path, precision: str, tools: ExportTools) -> Backend:
        model = ModelParameters(device="cpu", precision="exact", threads=tools.threads)
        return _Changed(load_backend(output, model, with_qa_head), change)  # type: ignore[return-value]

    return replace(find_form("safetensors"), name="changed", open=open_it)


def test_a_backend_that_gives_logits_alone_has_no_other_figures() -> None:
    form = _changed(lambda output: replace(output, hidden=None, pooled=None))
    found = check_form(form, DISTILBERT, "float32", TOOLS, SAMPLE)
    assert (found.hidden, found.least_cosine) == (None, None)
    assert (found.logits, found.equal_spans, found.rows) == (0.0, 1.0, 4)
    off = _changed(lambda output: replace(output, hidden=None, start_logits=_plus(output.start_logits)))
    with pytest.raises(ModelError, match="changed in float32 is too far"):
        check_form(off, DISTILBERT, "float32", TOOLS, SAMPLE)


def _plus(logits: Floats | None, much: float = 0.01) -> Floats | None:
    return None if logits is None else logits + np.float32(much)


def test_no_number_is_beyond_every_tolerance() -> None:
    form = _changed(lambda output: replace(output, hidden=None, end_logits=_plus(output.end_logits, np.nan)))
    with pytest.raises(ModelError, match=r"too far from torch in float32: .*nan"):
        check_form(form, DISTILBERT, "float32", TOOLS, SAMPLE)


def test_a_form_of_another_shape_is_another_model() -> None:
    form = _changed(lambda output: replace(output, hidden=None if output.hidden is None else output.hidden[..., :-1]))
    with pytest.raises(ModelError, match=r"numbers as hidden states, and torch .*: it is another model"):
        check_form(form, DISTILBERT, "float32", TOOLS, SAMPLE)


def test_an_encoder_without_a_head_is_compared_by_its_vectors(tmp_path: Path) -> None:
    load_model(DISTILBERT, with_qa_head=False).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        copy(DISTILBERT / name, tmp_path / name)
    found = check_form(find_form("safetensors"), tmp_path, "float32", TOOLS, SAMPLE)
    assert (found.logits, found.largest_logit, found.equal_spans, found.f1, found.exact_f1) == (None,) * 5
    assert (found.hidden, found.rows) == (0.0, 4)
    assert found.least_cosine == pytest.approx(1.0, abs=1e-6)
    nothing = _changed(lambda output: replace(output, hidden=None), with_qa_head=False)
    with pytest.raises(ModelError, match="it gives neither logits nor hidden states"):
        check_form(nothing, tmp_path, "float32", TOOLS, SAMPLE)


def test_torch_computes_once_for_all_forms_of_a_models_weights(folder: Path) -> None:
    sample = replace(SAMPLE)
    first = sample.exact(folder, 1)
    (folder / "another_form.bin").write_bytes(b"x")
    assert sample.exact(folder, 1) is first
    assert sample.exact(DISTILBERT, 1) is not first


def test_rows_that_cannot_be_cut_are_left_out_and_no_rows_are_rows_too() -> None:
    sample = ParitySample(("Who?", "", "Who lit the lamp?"), ("\u200b", "   ", LAMP))
    form = find_form("safetensors")
    assert check_form(form, DISTILBERT, "float32", TOOLS, sample).rows == len(sample.exact(DISTILBERT, 1).chosen) < 3
    found = check_form(form, DISTILBERT, "float32", TOOLS, ParitySample())
    assert (found.hidden, found.rows, found.f1, found.equal_spans) == (0.0, 0, None, None)


def test_a_slow_form_takes_few_rows() -> None:
    tokens = np.full(10, 100, dtype=np.int64)
    assert [_affordable(tokens, seconds) for seconds in (1e-4, 0.5, 5.0)] == [10, 3, 1]
    assert _affordable(tokens[:0], 1.0) == 0


def test_what_an_export_computes_is_compared_with_the_model_that_it_was_made_of(tmp_path: Path) -> None:
    """Not with weights that were written beside it, which may be wrong in the same way."""
    folder = exported(DISTILBERT, tmp_path / "model")
    weights = load_tensors(folder / "model.safetensors")
    weights["qa_outputs.bias"] += 0.5
    save_tensors(weights, folder / "model.safetensors", metadata={"format": "pt"})
    form = find_form("safetensors")
    assert check_form(form, folder, "float32", TOOLS, SAMPLE).deviation.largest == 0.0
    with pytest.raises(ModelError, match="safetensors in float32 is too far from torch in float32"):
        check_form(form, folder, "float32", TOOLS, SAMPLE, original=DISTILBERT)
