"""A model that was exported is loaded as it lies: nothing is converted, and nothing is written into its folder."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from actors.backends.base import Backend, find_runtime
from actors.errors import ModelError
from actors.models.loading import load_backend
from actors.parameters import ModelParameters
from tests.actors.backends.converted.conftest import LoadGolden, random_batch
from tests.actors.exports import exported, flip, record
from tests.actors.helpers import GOLDEN

BERT = GOLDEN / "models" / "bert"
FORMS = [
    ("onnxruntime", "onnx", "float32"),
    ("onnxruntime", "onnx", "int8"),
    ("openvino", "openvino", "float32"),
    ("ctranslate2", "ctranslate2", "float32"),
    ("ctranslate2", "ctranslate2", "int8"),
]


def _load(folder: Path, backend: str, dtype: str) -> Backend:
    model = ModelParameters.model_validate({"backend": backend, "dtype": dtype, "device": "cpu", "threads": 1})
    return load_backend(folder, model, with_qa_head=True)


def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, from now on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "spanmill" / "converted"


@pytest.mark.usefixtures("conversions")
@pytest.mark.parametrize(("backend", "form", "dtype"), FORMS)
def test_an_exported_form_is_loaded_without_a_conversion(
    golden: LoadGolden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, form: str, dtype: str
) -> None:
    folder = exported(BERT, tmp_path / "bert", (form, dtype))
    cache = _own_cache(tmp_path, monkeypatch)
    # What converts is not there, as on a machine that only runs models.
    for name in ("onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, None)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert find_runtime(backend).is_ready(folder, dtype)
    batch = random_batch((12, 30))
    found, expected = (
        loaded.forward(batch, want_spans=True, pool_weights=None).start_logits
        for loaded in (_load(folder, backend, dtype), golden(backend, dtype, "bert"))
    )
    assert found is not None
    assert expected is not None
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    (results,) = [path for path in cache.iterdir() if path.is_dir()]
    assert [path.name.partition("-")[0] for path in results.iterdir()] == ["parity"]
    assert results.name.startswith("exported-")
    kept = next(results.iterdir())
    # Believed without another comparison, for as long as the files are these.
    figures = json.loads(kept.read_text())
    figures["deviation"]["hidden"] = 0.9
    kept.write_text(json.dumps(figures))
    with pytest.raises(ModelError, match="too far from torch"):
        _load(folder, backend, dtype)


@pytest.mark.usefixtures("conversions")
def test_a_changed_file_of_a_form_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = exported(BERT, tmp_path / "bert", ("ctranslate2", "float32"))
    _own_cache(tmp_path, monkeypatch)
    flip(folder / "ctranslate2/float32/model.bin")
    with pytest.raises(ModelError, match=r"ctranslate2/float32/model\.bin is not what was exported: its SHA-256"):
        _load(folder, "ctranslate2", "float32")
    assert _load(folder, "torch", "float32").hidden_size, "torch does not read it"


@pytest.mark.usefixtures("conversions")
def test_a_form_that_its_runtime_cannot_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = exported(BERT, tmp_path / "bert", ("ctranslate2", "float32"))
    _own_cache(tmp_path, monkeypatch)
    (folder / "ctranslate2/float32/model.bin").write_bytes(b"broken")
    record(folder, [("ctranslate2", "float32")])
    with pytest.raises(ModelError, match=r"float32: the converted model cannot be read; export the model again: "):
        _load(folder, "ctranslate2", "float32")


def test_what_has_to_be_converted_by_packages_that_are_missing_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _own_cache(tmp_path, monkeypatch)
    for name in ("onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, None)
    runtime = find_runtime("onnxruntime")
    assert runtime.is_installed
    assert not runtime.can_load(BERT, "float32")
    with pytest.raises(ModelError, match=r"needs onnx, onnxscript to convert .*bert.*'spanmill\[onnxruntime\]'"):
        _load(BERT, "onnxruntime", "float32")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert not runtime.is_installed
    with pytest.raises(ModelError, match="onnxruntime needs onnxruntime, which is not installed here"):
        _load(BERT, "onnxruntime", "float32")
