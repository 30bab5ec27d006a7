"""The base to start from, students of half its layers, and the folders that are written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    BertModel,
    DistilBertModel,
    GPT2Config,
    GPT2ForQuestionAnswering,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    XLNetConfig,
    XLNetForQuestionAnsweringSimple,
)

from actors.backends.pytorch.torch_weights import load_model
from actors.errors import ModelError
from actors.models.loading import load_spec
from actors.training.student import halve, load_base, save
from tests.actors.helpers import GOLDEN, MODELS
from tests.actors.training.helpers import BERT, DISTILBERT, same_bits

Copy = Callable[[str], Path]


def _of_layers(folder: Path, layers: int) -> PreTrainedModel:
    """A model with that many layers, all of them different."""
    config = AutoConfig.from_pretrained(folder)
    setattr(config, "n_layers" if config.model_type == "distilbert" else "num_hidden_layers", layers)
    torch.manual_seed(5)
    model: PreTrainedModel = AutoModelForQuestionAnswering.from_config(config)  # type: ignore[no-untyped-call]
    return model


@pytest.mark.parametrize("folder", [DISTILBERT, BERT], ids=["distilbert", "bert"])
@pytest.mark.parametrize(("layers", "kept"), [(2, [0]), (4, [0, 2]), (5, [0, 2, 4])])
def test_a_student_has_every_other_layer(tmp_path: Path, folder: Path, layers: int, kept: list[int]) -> None:
    model = _of_layers(folder, layers)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    student = halve(model)
    assert student.config.num_hidden_layers == len(kept)
    assert model.config.num_hidden_layers == layers
    assert same_bits(before, model.state_dict())
    for name, weight in student.state_dict().items():
        where, layer, rest = name.partition(".layer.")
        number, _, weight_name = rest.partition(".")
        theirs = f"{where}{layer}{kept[int(number)]}.{weight_name}" if layer else name
        assert torch.equal(weight, before[theirs]), name
    layers_seen = {name.partition(".layer.")[2].partition(".")[0] for name in student.state_dict()} - {""}
    assert layers_seen == {str(i) for i in range(len(kept))}
    # It is a model like any other.
    save(student, folder, tmp_path, "float32")
    again = load_model(tmp_path, with_qa_head=True)
    ids = torch.tensor([[2, 10, 11, 12, 3]])
    student.train(False)
    assert torch.equal(again(ids).start_logits, student(ids).start_logits)


def test_a_student_by_the_config_s_own_words(tmp_path: Path) -> None:
    model = XLNetForQuestionAnsweringSimple(XLNetConfig(vocab_size=9, d_model=8, n_layer=4, n_head=2, d_inner=8))
    halve(model).save_pretrained(tmp_path)
    again = XLNetForQuestionAnsweringSimple.from_pretrained(tmp_path)
    assert (len(again.transformer.layer), again.config.n_layer) == (2, 2)


def test_what_cannot_be_halved() -> None:
    with pytest.raises(ModelError, match="one layer cannot be halved"):
        halve(_of_layers(DISTILBERT, 1))
    model = GPT2ForQuestionAnswering(GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=2, n_head=2))
    model.transformer.more = torch.nn.ModuleList([torch.nn.Linear(1, 1)])
    with pytest.raises(ModelError, match="its stack of layers is not found"):
        halve(model)


@pytest.mark.parametrize(("name", "kind"), [("distilbert", DistilBertModel), ("bert", BertModel)])
def test_an_encoder_gets_the_same_fresh_head_for_the_same_seed(
    copy_of: Copy, name: str, kind: type[PreTrainedModel]
) -> None:
    folder = copy_of(name)
    kind.from_pretrained(folder).save_pretrained(folder)
    with pytest.raises(ModelError, match="without a QA head"):
        load_model(folder, with_qa_head=True)
    torch.manual_seed(123)
    one = load_base(folder, 1).state_dict()
    torch.randn(5)
    assert same_bits(one, load_base(folder, 1).state_dict())
    other = load_base(folder, 2).state_dict()
    assert {key for key in one if not torch.equal(one[key], other[key])} == {"qa_outputs.weight"}
    base = load_model(GOLDEN / "models" / name, with_qa_head=True).state_dict()
    assert {key for key in one if not torch.equal(one[key], base[key])} <= {"qa_outputs.weight", "qa_outputs.bias"}


def test_a_base_keeps_its_own_head() -> None:
    assert same_bits(load_base(DISTILBERT, 1).state_dict(), load_model(DISTILBERT, with_qa_head=True).state_dict())


def test_a_base_without_weights_or_with_broken_ones(copy_of: Copy) -> None:
    folder = copy_of("distilbert")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:5000])
    with pytest.raises(ModelError, match=r"distilbert: the weights cannot be loaded"):
        load_base(folder, 1)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        load_base(folder, 1)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_saved_loads_in_transformers(tmp_path: Path, name: str) -> None:
    folder = GOLDEN / "models" / name
    model = load_base(folder, 1)
    save(model, folder, tmp_path, "float32")
    again = AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    assert type(again) is type(model)
    assert same_bits(model.state_dict(), again.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    asked = "Who?", "Ada keeps three goats in Brindle."
    assert tokenizer(*asked) == AutoTokenizer.from_pretrained(folder)(*asked)
    assert load_spec(tmp_path) == load_spec(folder)
    tokenizers = {path.name for path in folder.iterdir()} - {"config.json", "model.safetensors"}
    assert tokenizers == {path.name for path in tmp_path.iterdir()} - {"config.json", "model.safetensors"}
    assert all((tmp_path / file).read_bytes() == (folder / file).read_bytes() for file in tokenizers)


@pytest.mark.parametrize(("name", "dtype"), [("float16", torch.float16), ("bfloat16", torch.bfloat16)])
def test_weights_of_half_the_size(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    model = load_base(DISTILBERT, 1)
    save(model, DISTILBERT, tmp_path, name)
    assert {weight.dtype for weight in load_file(tmp_path / "model.safetensors").values()} == {dtype}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == name
    assert next(model.parameters()).dtype == torch.float32, "the model itself is left as it is"
    # The engine computes in float32 unless told otherwise.
    loaded = load_model(tmp_path, with_qa_head=True)
    for (_, one), (_, other) in zip(
        sorted(model.state_dict().items()), sorted(loaded.state_dict().items()), strict=True
    ):
        assert other.dtype == torch.float32
        assert torch.equal(one.to(dtype).float(), other)
