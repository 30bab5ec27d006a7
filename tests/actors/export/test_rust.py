"""The archive holds what the safetensors beside it hold, as tch reads it; the Rust program computes what torch does."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree, which
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from actors.errors import ModelError
from actors.export.rust import RUST, RustBackend, read_archive
from actors.export.weights import SAFETENSORS
from tests.actors.export.conftest import HIDDEN, LOGITS, TOOLS, Exported, assert_close, golden_backend, golden_batch
from tests.actors.helpers import GOLDEN, MODELS

Tensors = dict[str, torch.Tensor]
POOLER = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
BIAS = "qa_outputs.bias"


@pytest.fixture
def copy(exported: Exported, tmp_path: Path) -> Path:
    """An export of DistilBERT that may be spoilt."""
    return Path(copytree(exported("distilbert", RUST, "float32"), tmp_path / "copy"))


@pytest.mark.parametrize("name", MODELS)
def test_tch_finds_every_tensor_under_its_name(exported: Exported, name: str) -> None:
    folder = exported(name, RUST, "float32")
    with pytest.warns(DeprecationWarning, match="torch.jit.load"):
        archive: Any = torch.jit.load(str(folder / "rust_model.ot"))  # type: ignore[no-untyped-call]
    found = {name.replace("|", "."): tensor for name, tensor in archive.named_parameters()}
    expected = load_file(GOLDEN / "models" / name / "model.safetensors")
    # rust-bert's BERT wants a pooler for question answering as well.
    assert found.keys() - expected.keys() == (POOLER if name == "bert" else set())
    for tensor_name, tensor in expected.items():
        assert found[tensor_name].dtype == torch.float32
        assert torch.equal(found[tensor_name], tensor)
    assert not any(found[name].any() for name in POOLER & found.keys())


def _changed(tensors: Tensors) -> Tensors:
    return tensors | {BIAS: tensors[BIAS] + 1}


def _negative_zero(tensors: Tensors) -> Tensors:
    return tensors | {BIAS: torch.tensor([0.0, 0.0])}


def _one_less(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name != BIAS}


def _one_more(tensors: Tensors) -> Tensors:
    return tensors | {"another.bias": torch.zeros(2)}


def _reshaped(tensors: Tensors) -> Tensors:
    return tensors | {BIAS: tensors[BIAS][None]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_changed, f"{BIAS} has other values than in the safetensors"),
        (_one_less, f"{BIAS} is in it only"),
        (_one_more, r"another\.bias is in the safetensors beside it only"),
        (_reshaped, f"{BIAS} has another type or shape"),
    ],
)
def test_an_archive_of_other_weights_is_refused(copy: Path, change: Callable[[Tensors], Tensors], says: str) -> None:
    save_file(change(load_file(copy / "model.safetensors")), copy / "model.safetensors")
    with pytest.raises(ModelError, match=rf"rust_model\.ot: {says}.*; export the model again"):
        RUST.open(copy, "float32", TOOLS)


def test_a_sign_of_zero_is_another_value(copy: Path) -> None:
    save_file(_negative_zero(load_file(copy / "model.safetensors")), copy / "model.safetensors")
    RUST.write(copy, copy, "float32", True, TOOLS)
    zeros = load_file(copy / "model.safetensors")
    save_file(zeros | {BIAS: -zeros[BIAS]}, copy / "model.safetensors")
    with pytest.raises(ModelError, match="has other values"):
        RUST.open(copy, "float32", TOOLS)


def test_a_broken_archive_is_refused(copy: Path) -> None:
    (copy / "rust_model.ot").write_bytes(b"broken")
    with pytest.raises(ModelError, match=r"rust_model\.ot cannot be read"):
        RUST.open(copy, "float32", TOOLS)


class _WithCode(torch.nn.Module):
    """Runs something when it is read."""

    @torch.jit.export
    def __getstate__(self) -> int:
        return 1

    @torch.jit.export
    def __setstate__(self, state: int) -> None:
        self.training = False

    def forward(self) -> int:
        return 1


def test_an_archive_with_code_is_not_read(copy: Path) -> None:
    with pytest.warns(DeprecationWarning, match=r"torch\.jit"):
        torch.jit.script(_WithCode()).save(str(copy / "rust_model.ot"))  # type: ignore[no-untyped-call]
    with pytest.raises(ModelError, match=r"rust_model\.ot holds code beside its tensors, and is not read"):
        RUST.open(copy, "float32", TOOLS)


def test_without_a_compiler_it_says_what_to_install(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(copy))
    with pytest.raises(ModelError, match="rustc is not here: apt-get install rustc"):
        RUST.open(copy, "float32", TOOLS)
    assert (
        RUST.lacking(TOOLS)
        == "rustc is not installed here; install with apt-get install rustc, or see https://rustup.rs"
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_a_head_is_computed_with_the_tensors_of_the_archive(name: str, tmp_path: Path) -> None:
    folder = GOLDEN / "models" / name
    SAFETENSORS.write(folder, tmp_path, "float32", False, TOOLS)
    RUST.write(folder, tmp_path, "float32", False, TOOLS)
    assert read_archive(tmp_path / "rust_model.ot").keys() == load_file(tmp_path / "model.safetensors").keys()
    batch = golden_batch(has_types=name == "bert")
    assert_close(RUST.open(tmp_path, "float32", TOOLS), golden_backend(name), batch, 1e-5, HIDDEN)


@pytest.mark.more
@pytest.mark.skipif(which("rustc") is None, reason="rustc is missing: apt-get install rustc")
@pytest.mark.parametrize("name", MODELS)
def test_one_process_of_the_program_computes_what_torch_does(exported: Exported, name: str) -> None:
    backend = RUST.open(exported(name, RUST, "float32"), "float32", TOOLS)
    assert isinstance(backend, RustBackend)
    process, batch = backend._program._process, golden_batch(has_types=name == "bert")
    for _ in range(2):
        assert_close(backend, golden_backend(name), batch, 1e-4, LOGITS)
    assert process.poll() is None
    del backend
    assert process.returncode is not None


@pytest.mark.more
@pytest.mark.skipif(which("rustc") is None, reason="rustc is missing: apt-get install rustc")
def test_what_the_program_says_is_passed_on(copy: Path) -> None:
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(config.replace('"gelu"', '"relu"'))
    backend = RUST.open(copy, "float32", TOOLS)
    with pytest.raises(ModelError, match=r'the Rust program ended with exit code 1: spans: .* activation is "relu"'):
        backend.forward(golden_batch(has_types=False), True, None)
