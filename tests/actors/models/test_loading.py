"""Folders become engines; folders that cannot say why."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, DistilBertModel, XLNetConfig, XLNetForQuestionAnsweringSimple

from actors.arrays import Floats
from actors.backends.base import BatchLayout, ModelOutput, PassOutput, Runtime, SynchronousBackend
from actors.backends.pytorch.torch_weights import load_model
from actors.batch import Batch
from actors.engine.engine import Engine
from actors.errors import DeviceLost, ModelError
from actors.models.loading import load_engine, load_spec
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters
from actors.tokenization.preprocess import prepare_texts
from tests.actors.conftest import Loaded
from tests.actors.helpers import Answer, answers_of, prepare, same_up_to_ties, strings, word_tokenizer

Copy = Callable[[str], Path]
PAIRS = [
    ("Who lit the lamp?", "The head keeper, Agnes Bell, lit the lamp in 1837."),
    ("How many goats?", "Ada keeps three goats in Brindle."),
]
QA = QAParameters(top_k=3)


def _load(folder: Path, with_qa_head: bool = True) -> Engine:
    return load_engine(folder, ModelParameters(device="cpu", threads=1), BatchingParameters(), with_qa_head)


def _answer(engine: Engine) -> list[list[Answer]]:
    prepared, _ = prepare(engine.spec, QA, PAIRS)
    answers = engine.answer(prepared, QA).answers
    assert answers is not None
    return answers_of(answers)


def _edit(path: Path, **changes: Any) -> None:
    """Sets keys of a JSON file; None removes one."""
    kept = {key: value for key, value in (json.loads(path.read_text()) | changes).items() if value is not None}
    path.write_text(json.dumps(kept))


def _assert_same(got: list[list[Answer]], expected: list[list[Answer]]) -> None:
    assert all(same_up_to_ties(mine, theirs, 1e-6) for mine, theirs in zip(got, expected, strict=True)), (got, expected)


def test_the_golden_models_load(engines: dict[str, Engine], copy_of: Copy) -> None:
    _assert_same(_answer(_load(copy_of("bert"))), _answer(engines["bert"]))


def test_the_null_backend_needs_no_weights(copy_of: Copy) -> None:
    folder = copy_of("bert")
    (folder / "model.safetensors").unlink()
    engine = load_engine(folder, ModelParameters(backend="null"), BatchingParameters(), with_qa_head=True)
    assert all(str(found[0].text) in context for found, (_, context) in zip(_answer(engine), PAIRS, strict=True))
    assert engine.hidden_size == json.loads((folder / "config.json").read_text())["hidden_size"]


def test_a_bare_null_in_yaml_names_the_null_backend() -> None:
    assert ModelParameters.model_validate({"backend": None}).backend == "null"


class _GoneBackend(SynchronousBackend):
    """A device that took the model, and is lost at the first look at its memory."""

    device, hidden_size = "cpu", 4

    def __init__(self, says: str) -> None:
        self._says = says

    layout = BatchLayout.PADDED

    @property
    def memory_limit(self) -> int | None:
        raise RuntimeError(self._says)

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        raise NotImplementedError


OUTPUTS = frozenset({ModelOutput.LOGITS})
LOST = Runtime(
    "lost", lambda folder, model, with_qa_head: _GoneBackend("CUDA error: an illegal memory access"), (), OUTPUTS
)
BROKEN = Runtime("broken", lambda folder, model, with_qa_head: _GoneBackend("no such file"), (), OUTPUTS)


@pytest.mark.parametrize(("name", "kind"), [("LOST", DeviceLost), ("BROKEN", RuntimeError)])
def test_a_device_that_is_lost_before_its_first_pass_is_called_so(
    copy_of: Copy, name: str, kind: type[Exception]
) -> None:
    model = ModelParameters(backend=f"{__name__}:{name}")
    with pytest.raises(kind):
        load_engine(copy_of("bert"), model, BatchingParameters(), with_qa_head=True)


# Weights


def test_a_folder_without_weights_says_so(copy_of: Copy) -> None:
    folder = copy_of("bert")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"bert holds no weights: neither model\.safetensors nor pytorch_model\.bin"):
        _load(folder)


def test_an_encoder_without_qa_head_embeds_but_does_not_answer(models: dict[str, Loaded], tmp_path: Path) -> None:
    network = load_model(models["distilbert"].folder, with_qa_head=False)
    assert isinstance(network, DistilBertModel)
    network.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"without a QA head \(missing: qa_outputs\.bias, qa_outputs\.weight\)"):
        load_model(tmp_path, with_qa_head=True)
    assert isinstance(load_model(tmp_path, with_qa_head=False), DistilBertModel)


def test_missing_weights_are_named(copy_of: Copy) -> None:
    folder = copy_of("bert")
    weights = load_file(folder / "model.safetensors")
    del weights["bert.embeddings.word_embeddings.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"without all of its weights \(missing: bert\.embeddings\.word_embeddings"):
        _load(folder)


def test_weights_of_another_shape_are_refused(copy_of: Copy) -> None:
    folder = copy_of("bert")
    _edit(folder / "config.json", vocab_size=901)
    with pytest.raises(ModelError, match="the weights cannot be loaded"):
        _load(folder)


@pytest.mark.parametrize("spoil", [lambda data: data[:1000], lambda data: b"\xff" * 100, lambda data: b""])
def test_broken_safetensors_are_refused(copy_of: Copy, spoil: Callable[[bytes], bytes]) -> None:
    path = copy_of("bert") / "model.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ModelError, match="bert: the weights cannot be loaded"):
        _load(path.parent)


def test_a_pickle_of_tensors_loads(engines: dict[str, Engine], copy_of: Copy) -> None:
    folder = copy_of("bert")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    _assert_same(_answer(_load(folder)), _answer(engines["bert"]))


class _Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickle_that_runs_code_is_refused_and_not_run(
    copy_of: Copy, tmp_path: Path, save: Callable[[object, Path], object]
) -> None:
    folder = copy_of("bert")
    weights: dict[str, object] = dict(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    save(weights | {"extra": _Touch(tmp_path / "was_here")}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="the weights cannot be loaded"):
        _load(folder)
    assert not (tmp_path / "was_here").exists()


def test_code_that_a_folder_brings_is_not_run(copy_of: Copy, tmp_path: Path) -> None:
    folder = copy_of("bert")
    (folder / "modeling_mine.py").write_text(f"open({str(tmp_path / 'was_here')!r}, 'w')")
    names = {"AutoConfig": "modeling_mine.Mine", "AutoModelForQuestionAnswering": "modeling_mine.Mine"}
    _edit(folder / "config.json", model_type="mine", auto_map=names)
    with pytest.raises(ModelError, match=r"bert"):
        _load(folder)
    assert not (tmp_path / "was_here").exists()


# Tokenizer and config


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_a_folder_without_tokenizer_says_so(copy_of: Copy, name: str) -> None:
    """transformers 5 would make up a tokenizer that knows its special tokens and nothing else."""
    folder = copy_of(name)
    for file in ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt"):
        (folder / file).unlink(missing_ok=True)
    with pytest.raises(ModelError, match=rf"{name} holds no tokenizer: neither tokenizer\.json nor a vocabulary"):
        load_spec(folder)
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / file).unlink()
    with pytest.raises(ModelError, match="holds no tokenizer"):
        load_spec(folder)


def test_a_vocabulary_is_tokenizer_enough(engines: dict[str, Engine], copy_of: Copy) -> None:
    folder = copy_of("bert")
    (folder / "tokenizer.json").unlink()
    _assert_same(_answer(_load(folder)), _answer(engines["bert"]))


def test_a_broken_tokenizer_is_refused(copy_of: Copy) -> None:
    folder = copy_of("bert")
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"bert: the tokenizer cannot be loaded"):
        _load(folder)


def test_a_tokenizer_that_only_python_runs_is_refused(copy_of: Copy) -> None:
    folder = copy_of("bert")
    (folder / "tokenizer.json").unlink()
    _edit(folder / "tokenizer_config.json", tokenizer_class="CanineTokenizer")
    with pytest.raises(ModelError, match=r"CanineTokenizer is no fast tokenizer; add a tokenizer\.json"):
        _load(folder)


def test_a_tokenizer_without_padding_is_refused(copy_of: Copy) -> None:
    folder = copy_of("bert")
    _edit(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", pad_token=None)
    (folder / "special_tokens_map.json").unlink()
    with pytest.raises(ModelError, match="names no pad token"):
        load_spec(folder)


def test_a_tokenizer_of_another_model_is_refused(copy_of: Copy) -> None:
    folder = copy_of("bert")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["lighthouse"])
    tokenizer.save_pretrained(folder)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    with pytest.raises(ModelError, match=rf"token ids up to {size}, and the model embeddings of {size} tokens only"):
        load_spec(folder)


def test_a_broken_config_is_named(copy_of: Copy) -> None:
    folder = copy_of("bert")
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json|tokenizer cannot be loaded"):
        _load(folder)
    (folder / "config.json").write_text('{"model_type": "never-heard-of"}')
    with pytest.raises(ModelError, match=r"never-heard-of|config\.json"):
        _load(folder)


def test_windows_are_as_long_as_tokenizer_and_positions_allow(models: dict[str, Loaded], copy_of: Copy) -> None:
    assert {name: model.spec.max_length for name, model in models.items()} == dict.fromkeys(models, 512)
    bert, roberta = copy_of("bert"), copy_of("roberta")
    _edit(bert / "tokenizer_config.json", model_max_length=200)
    assert load_spec(bert).max_length == 200
    for folder, positions in ((bert, 512), (roberta, 514)):
        _edit(folder / "tokenizer_config.json", model_max_length=None)
        assert json.loads((folder / "config.json").read_text())["max_position_embeddings"] == positions
        assert load_spec(folder).max_length == 512, "RoBERTa counts its positions from the padding token's on"


def test_roberta_takes_the_longest_window_that_it_names(copy_of: Copy) -> None:
    folder = copy_of("roberta")
    _edit(folder / "tokenizer_config.json", model_max_length=None)
    engine = _load(folder)
    embedding = EmbeddingParameters(max_seq_len=512)
    prepared, _ = prepare_texts(engine.spec, embedding, strings(["lamp " * 2000]))
    assert prepared.lengths(engine.spec.single.specials).max() == 512
    results = engine.embed(prepared, embedding)
    assert results.embeddings is not None


@pytest.mark.parametrize("tokenizer_class", ["BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast", None])
def test_bert_gets_token_types_whatever_its_tokenizer_is_called(
    engines: dict[str, Engine], copy_of: Copy, tokenizer_class: str | None
) -> None:
    folder = copy_of("bert")
    _edit(folder / "tokenizer_config.json", tokenizer_class=tokenizer_class)
    engine = _load(folder)
    assert engine.spec.uses_type_ids
    _assert_same(_answer(engine), _answer(engines["bert"]))


@pytest.mark.parametrize("tokenizer_class", ["DistilBertTokenizer", "BertTokenizer", "PreTrainedTokenizerFast", None])
def test_distilbert_gets_none_whatever_its_tokenizer_lists(
    engines: dict[str, Engine], copy_of: Copy, tokenizer_class: str | None
) -> None:
    folder = copy_of("distilbert")
    names = ["input_ids", "token_type_ids", "attention_mask"]
    _edit(folder / "tokenizer_config.json", tokenizer_class=tokenizer_class, model_input_names=names)
    engine = _load(folder)
    assert not engine.spec.uses_type_ids
    _assert_same(_answer(engine), _answer(engines["distilbert"]))


def test_a_model_of_one_token_type_gets_none(copy_of: Copy) -> None:
    folder = copy_of("roberta")
    _edit(folder / "tokenizer_config.json", model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    assert not load_spec(folder).uses_type_ids


def test_a_generic_tokenizer_that_lists_its_inputs_is_believed(copy_of: Copy) -> None:
    folder = copy_of("bert")
    names = ["input_ids", "attention_mask"]
    _edit(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", model_input_names=names)
    assert not load_spec(folder).uses_type_ids


# Another architecture: CLS at the end, padding on the left, positions without an end


@pytest.fixture
def xlnet(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = XLNetConfig(
        vocab_size=64, d_model=16, n_layer=1, n_head=2, d_inner=32, pad_token_id=0, initializer_range=1.0
    )
    XLNetForQuestionAnsweringSimple(config).save_pretrained(tmp_path)
    word_tokenizer(cls_at_the_end=True).save(str(tmp_path / "tokenizer.json"))
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "cls_token": "[CLS]"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"padding_side": "left"}))
    return tmp_path


def test_xlnet_answers_the_same_alone_and_in_company(xlnet: Path) -> None:
    engine = _load(xlnet)
    assert engine.spec.pair.passage_first
    assert engine.spec.max_length > 512
    pairs = [("w1 w2", "w3 w4 w5"), ("w6", "w7 w8 w9 w10 w11 w12 w13 w14"), ("w1", "w15")]
    together, _ = prepare(engine.spec, QA, pairs)
    fixed = BatchingParameters(fixed_windows=3)
    results = load_engine(xlnet, ModelParameters(device="cpu"), fixed, True).answer(together, QA).answers
    assert results is not None
    for pair, got in zip(pairs, answers_of(results), strict=True):
        alone = engine.answer(prepare(engine.spec, QA, [pair])[0], QA).answers
        assert alone is not None
        assert same_up_to_ties(got, answers_of(alone)[0])
        assert all(pair[1][a.start : a.end] == a.text for a in got)
