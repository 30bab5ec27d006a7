"""The Rust program of infra/rust: its logits are PyTorch's, and what it cannot compute it says."""

import json
import math
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForQuestionAnswering

from actors.arrays import Floats
from tests.actors.helpers import GOLDEN, MODELS
from tests.infra.manifests import INFRA, ROOT

pytestmark = pytest.mark.more

SHIPPED = ROOT / "models" / "minilm-qa"
TOLERANCE = 1e-4
"""Of a logit. They lie between -20 and 20."""
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Window:
    ids: Sequence[int]
    types: Sequence[int] | None = None

    def __str__(self) -> str:
        ids = " ".join(map(str, self.ids))
        return ids if self.types is None else f"{ids} | {' '.join(map(str, self.types))}"


@dataclass(frozen=True)
class Spans:
    """The compiled program."""

    program: Path

    def run(self, *arguments: Path, text: str) -> subprocess.CompletedProcess[str]:
        command = [self.program, *arguments]
        return subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8", check=False)

    def logits(self, folder: Path, windows: Iterable[Window]) -> list[Floats]:
        """[2, tokens] a window: start and end."""
        ran = self.run(folder, text="".join(f"{window}\n" for window in windows))
        assert ran.returncode == 0, ran.stderr
        printed = map(json.loads, ran.stdout.splitlines())
        return [np.array([one["start_logits"], one["end_logits"]], np.float32) for one in printed]

    def refusal(self, *arguments: Path, text: str = "2 5 3") -> str:
        """The line that says why there are no logits."""
        ran = self.run(*arguments, text=text)
        assert (ran.returncode, ran.stdout) == (1, "")
        (line,) = ran.stderr.splitlines()
        return line


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory) -> Spans:
    rustc = shutil.which("rustc")
    if rustc is None:
        pytest.skip("rustc is missing: apt-get install rustc")
    program = tmp_path_factory.mktemp("rust") / "spans"
    command = [rustc, "--edition", "2021", "-O", str(INFRA / "rust" / "spans.rs"), "-o", str(program)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return Spans(program)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return shutil.copytree(GOLDEN / "models" / "bert", tmp_path / "bert")


def assert_agrees_with_torch(spans: Spans, folder: Path, windows: Sequence[Window]) -> None:
    model = AutoModelForQuestionAnswering.from_pretrained(folder, dtype=torch.float32).eval()
    found = spans.logits(folder, windows)
    for window, logits in zip(windows, found, strict=True):
        types = {} if window.types is None else {"token_type_ids": torch.tensor([window.types])}
        with torch.no_grad():
            output = model(torch.tensor([window.ids]), **types)
        expected = torch.cat([output.start_logits, output.end_logits]).numpy()
        np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE)


def golden_windows(name: str) -> list[Window]:
    lines = (GOLDEN / "windows.jsonl").read_text(encoding="utf-8").splitlines()
    cuts = [cut for cut in map(json.loads, lines) if cut["model"] == name]
    types = name != "distilbert"
    return [Window(w["input_ids"], w["token_type_ids"] if types else None) for cut in cuts for w in cut["windows"]]


@pytest.mark.parametrize("name", MODELS)
def test_golden_windows(spans: Spans, name: str) -> None:
    assert_agrees_with_torch(spans, GOLDEN / "models" / name, golden_windows(name))


def test_the_shipped_model_on_the_samples(spans: Spans) -> None:
    tokenizer = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    tokenizer.enable_truncation(512)
    tokenizer.no_padding()
    lines = (ROOT / "samples" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    rows = map(json.loads, lines[:: len(lines) // 8])
    windows = [Window(tokenizer.encode(row["question"], row["context"]).ids) for row in rows]
    assert_agrees_with_torch(spans, SHIPPED, windows)


@pytest.mark.parametrize("name", MODELS)
def test_token_types_left_out_and_padding_in_the_middle(spans: Spans, name: str) -> None:
    # RoBERTa gives no position to its padding, whose id is 1 (BERT's is 0).
    assert_agrees_with_torch(spans, GOLDEN / "models" / name, [Window([2, 5, 1, 0, 1, 700, 3]), Window([2])])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_two_bytes(spans: Spans, bert: Path, dtype: torch.dtype) -> None:
    path = bert / "model.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    assert_agrees_with_torch(spans, bert, golden_windows("bert")[:3])


def test_float16_at_its_limits(spans: Spans, bert: Path) -> None:
    """The smallest, the largest, and those that are no numbers: each is the bias of a logit once."""

    tensors = load_file(bert / "model.safetensors")
    tensors["qa_outputs.weight"] = torch.zeros(2, 32)
    for value in (6e-8, -6e-8, 6.1e-5, 1.0, -65504.0, math.inf, math.nan):
        bias = torch.tensor([value, -value], dtype=torch.float16)
        save_file(tensors | {"qa_outputs.bias": bias}, bert / "model.safetensors")
        if math.isfinite(value):
            (logits,) = spans.logits(bert, [Window([2])])
            assert logits[:, 0].tolist() == bias.float().tolist()
        else:
            assert spans.refusal(bert) == "spans: line 1: the logits are not finite"


def test_strings_with_escapes_and_a_layer_norm_of_its_own(spans: Spans, bert: Path) -> None:
    odd = {"note": 'a "quoted" \\ text,\n\t𝄞 {["'}
    change_config(bert, odd | {"layer_norm_eps": 1e-2, "id2label": {"0": "a", "1": "b"}, "empty": [{}, [], -1.5e-3]})
    assert r"\ud834\udd1e" in (bert / "config.json").read_text()
    save_file(load_file(bert / "model.safetensors"), bert / "model.safetensors", odd | {"format": "pt"})
    assert_agrees_with_torch(spans, bert, golden_windows("bert")[:3])


def change_config(folder: Path, changes: Mapping[str, Any]) -> None:
    """None takes a key away."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model_type": "xlnet"}, 'model_type is "xlnet", not distilbert, bert or roberta'),
        ({"model_type": None}, 'model_type is "none", not distilbert, bert or roberta'),
        ({"hidden_act": "gelu_new"}, 'hidden_act is "gelu_new", not gelu'),
        ({"position_embedding_type": "relative_key"}, 'position_embedding_type is "relative_key", not absolute'),
        ({"is_decoder": True}, "is_decoder is true, and this is for encoders"),
        ({"hidden_size": None}, "config.json: hidden_size is missing, or not a whole number above 0"),
        ({"hidden_size": 0}, "config.json: hidden_size is missing, or not a whole number above 0"),
        ({"num_hidden_layers": 1.5}, "config.json: num_hidden_layers is missing, or not a whole number above 0"),
        ({"num_attention_heads": 5}, "5 heads cannot share a width of 32"),
        ({"num_hidden_layers": 3}, "there is no tensor bert.encoder.layer.2.attention.self.query.weight"),
        ({"vocab_size": 901}, "bert.embeddings.word_embeddings.weight has the shape [900, 32], not [901, 32]"),
    ],
)
def test_a_config_of_another_model(spans: Spans, bert: Path, changes: dict[str, Any], why: str) -> None:
    change_config(bert, changes)
    assert spans.refusal(bert) == f"spans: {bert}: {why}"


def test_tensors_of_another_model(spans: Spans, bert: Path) -> None:
    original = load_file(bert / "model.safetensors")
    name = "bert.encoder.layer.1.output.LayerNorm.bias"
    for changed, why in (
        (without(original, name), f"there is no tensor {name}"),
        (without(original, "qa_outputs.weight"), "no span head: there is no tensor qa_outputs.weight"),
        (
            original | {"qa_outputs.weight": torch.zeros(3, 32)},
            "no span head: qa_outputs.weight has the shape [3, 32], not [2, 32]",
        ),
        (original | {name: torch.zeros(32, dtype=torch.int8)}, f'{name} is of the type "I8", not F32, F16 or BF16'),
    ):
        save_file(changed, bert / "model.safetensors")
        assert spans.refusal(bert) == f"spans: {bert}: {why}"


def without(tensors: Tensors, name: str) -> Tensors:
    return {other: tensor for other, tensor in tensors.items() if other != name}


def test_broken_files(spans: Spans, bert: Path) -> None:
    path = bert / "model.safetensors"
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header, values = whole[8 : 8 + size], whole[8 + size :]
    for content, why in (
        (b"", "too short for SafeTensors"),
        (whole[: size // 2], "the header is longer than the file: cut off?"),
        (b"\xff" * 100, "the header is longer than the file: cut off?"),
        (with_header(b"\xff{}", values), "the header is not UTF-8"),
        (with_header(header[:100], values), "broken JSON before byte 100: "),
        (with_header(header + b"}", values), "broken JSON before byte"),
        (with_header(b"[" * 1_000_000, values), "broken JSON before byte 101: nested too deeply"),
    ):
        path.write_bytes(content)
        assert spans.refusal(bert).startswith(f"spans: {path}: {why}")
    # In the file of the golden model, the tensor with the last values is qa_outputs.weight.
    for content in (whole[:-4], with_header(header.replace(b'"data_offsets":[', b'"data_offsets":[1'), values)):
        path.write_bytes(content)
        assert spans.refusal(bert).startswith(f"spans: {bert}: no span head: broken header: no values of qa_outputs")
    path.unlink()
    assert spans.refusal(bert).startswith(f"spans: {path}: No such file")
    (bert / "config.json").write_text('{"model_type": "bert",}')
    assert spans.refusal(bert) == f'spans: {bert / "config.json"}: broken JSON before byte 22: " is missing'
    (bert / "config.json").unlink()
    assert spans.refusal(bert).startswith(f"spans: {bert / 'config.json'}: No such file")


def with_header(header: bytes, values: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + values


@pytest.mark.parametrize(
    ("name", "line", "why"),
    [
        ("bert", "2 900 3", "token id 900 is too large: the model has 900"),
        ("bert", "2 -1 3", '"-1" is not a whole number'),
        ("bert", "2 5 | 0 x", '"x" is not a whole number'),
        ("bert", "2 5 3 | 0 0", "2 token types for 3 token ids"),
        ("bert", "2 5 3 | 0 1 2", "token type 2 is too large: the model has 2"),
        ("bert", "2 " * 513, "position 512 is too large: the model has 512"),
        ("roberta", "2 " * 513, "position 514 is too large: the model has 514"),
        ("distilbert", "2 5 | 0 1", "this model knows no token types"),
        ("bert", "", "no token ids"),
    ],
)
def test_lines_that_are_no_windows(spans: Spans, name: str, line: str, why: str) -> None:
    assert spans.refusal(GOLDEN / "models" / name, text=f"{line}\n2 5 3") == f"spans: line 1: {why}"


def test_what_was_computed_before_a_broken_line_is_printed(spans: Spans) -> None:
    ran = spans.run(GOLDEN / "models" / "bert", text="2 5 3\n2 5 3\nx")
    assert (ran.returncode, len(ran.stdout.splitlines())) == (1, 2)
    assert ran.stderr == 'spans: line 3: "x" is not a whole number\n'


def test_it_wants_one_folder(spans: Spans) -> None:
    assert spans.refusal() == "spans: usage: spans MODEL_FOLDER < ids"
