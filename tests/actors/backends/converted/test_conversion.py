"""What cannot be converted says why, and what is written has the names that others look for."""

import json
import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from actors.backends.converted.conversion import _export, _traceable, convert_ctranslate2, export_onnx
from actors.backends.pytorch.torch_weights import load_model
from actors.daemon_thread import is_any_left
from actors.errors import ModelError
from actors.models.loading import load_backend
from actors.parameters import ModelParameters
from tests.actors.backends.converted.conftest import LoadGolden, random_batch
from tests.waiting import until


def test_a_kind_that_ctranslate2_cannot_hold_is_named(copy_of: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy_of("bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "electra"}))
    with pytest.raises(
        ModelError, match=r"is a electra, which CTranslate2 cannot hold; it knows bert, .*model\.backend"
    ):
        convert_ctranslate2(folder, tmp_path / "converted", with_qa_head=True, quantization="float32")


def test_a_folder_without_weights_is_named(copy_of: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy_of("bert")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        export_onnx(folder, tmp_path, with_qa_head=True)


def test_what_is_traced_gives_what_the_model_gives(untrained_model: Path) -> None:
    ids = torch.arange(10, 40).reshape(2, 15)
    plain = load_model(untrained_model, with_qa_head=True).train(False)
    with torch.inference_mode():
        expected = plain(input_ids=ids, output_hidden_states=True)
        found = _traceable(untrained_model, with_qa_head=True)(input_ids=ids)
        bare = _traceable(untrained_model, with_qa_head=False)(input_ids=ids)
    assert list(found) == ["start_logits", "end_logits", "last_hidden_state"]
    assert torch.equal(found["start_logits"], expected.start_logits)
    assert torch.equal(found["last_hidden_state"], expected.hidden_states[-1])
    assert list(bare) == ["last_hidden_state"]
    assert torch.equal(bare["last_hidden_state"], expected.hidden_states[-1])


def test_ctrl_c_does_not_cut_a_trace_off_and_what_is_left_of_it_writes_nothing(
    untrained_model: Path, tmp_path: Path
) -> None:
    main, goes_on, traced = threading.get_ident(), threading.Event(), threading.Event()

    class Exporter:
        def export(self, model: Any, inputs: Any, config: Any) -> Any:
            signal.pthread_kill(main, signal.SIGINT)
            assert goes_on.wait(60)
            traced.set()
            return SimpleNamespace(save_pretrained=lambda target: (target / "model.onnx").touch())

    stdout = sys.stdout
    with pytest.raises(KeyboardInterrupt):
        _export(untrained_model, tmp_path, True, "ONNX", Exporter, SimpleNamespace)
    assert sys.stdout is stdout
    assert is_any_left()
    goes_on.set()
    assert traced.wait(10)
    until(lambda: not is_any_left(), 60)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "backend",
    ["ctranslate2", *(pytest.param(name, marks=pytest.mark.more) for name in ("onnxruntime", "openvino"))],
)
def test_an_encoder_without_a_head_embeds(
    copy_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = copy_of("bert")
    encoder = load_model(folder, with_qa_head=False)
    # As many models have: more embeddings than their tokenizer has tokens.
    encoder.resize_token_embeddings(encoder.config.vocab_size + 5)
    encoder.save_pretrained(folder)
    batch = random_batch((12, 30))
    weights = np.full((2, 1, 30), 1 / 30, dtype=np.float32)
    weights[0, :, 12:] = 0
    found, expected = (
        load_backend(folder, ModelParameters(backend=name, device="cpu", threads=1), with_qa_head=False)
        .forward(batch, want_spans=False, pool_weights=weights)
        .pooled
        for name in (backend, "torch")
    )
    assert found is not None
    assert expected is not None
    np.testing.assert_allclose(found, expected, atol=2e-5)
    with pytest.raises(ModelError, match="without a QA head"):
        load_backend(folder, ModelParameters(backend=backend, device="cpu", threads=1), with_qa_head=True)


@pytest.mark.more
def test_files_have_the_names_that_others_look_for(
    golden: LoadGolden, conversions: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, logger="spanmill.model"):
        golden("onnxruntime", "int8", "bert")
        golden("openvino", "float32", "bert")
    assert {record.name for record in caplog.records} <= {"spanmill.model"}
    assert "[torch.onnx]" not in capfd.readouterr().out
    names = {path.parent.name.rpartition("-")[0]: path.name for path in conversions.glob("*/*.onnx")}
    assert names == {"onnx": "model.onnx", "onnx-int8": "model_quantized.onnx"}
    assert {path.suffix for path in conversions.glob("openvino-*/openvino_model.*")} == {".xml", ".bin"}
