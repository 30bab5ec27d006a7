"""A converted model that computes something else is refused, with the figure."""

import json
import sys
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from actors.backends.converted.conversion import HEAD_FILE
from actors.backends.converted.parity import TOLERANCES, Deviation, trial_windows
from actors.errors import ModelError
from actors.models.loading import load_backend
from actors.parameters import ModelParameters
from tests.actors.helpers import GOLDEN

MODEL = ModelParameters(backend="ctranslate2", device="cpu", dtype="float32", threads=1)
BERT = GOLDEN / "models" / "bert"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "spanmill" / "converted"


def test_weights_that_are_spoilt_are_noticed_and_their_deviation_is_told(cache: Path) -> None:
    load_backend(BERT, MODEL, with_qa_head=True)
    (converted,) = cache.glob("ctranslate2-*")
    (kept,) = converted.glob("parity-*.json")
    figures = json.loads(kept.read_text())["deviation"]
    assert 0 < figures["largest"] < 1e-4
    # Nothing but what was kept counts now, so a large figure there is believed.
    before = kept.read_text()
    kept.write_text(before.replace(str(figures["hidden"]), "0.5"))
    with pytest.raises(ModelError, match=r"too far from torch in float32: hidden states 0\.5, .* allowed are .*001"):
        load_backend(BERT, MODEL, with_qa_head=True)
    kept.write_text(before)
    head = load_file(converted / HEAD_FILE)
    save_file({"weight": head["weight"] * np.float32(1.01), "bias": head["bias"]}, converted / HEAD_FILE)
    with pytest.raises(ModelError, match=r"logits 0\.014 of their size.*Set model\.backend: torch"):
        load_backend(BERT, MODEL, with_qa_head=True)


def test_a_file_that_cannot_be_read_is_named(cache: Path) -> None:
    load_backend(BERT, MODEL, with_qa_head=True)
    (converted,) = cache.glob("ctranslate2-*")
    (converted / "model.bin").write_bytes(b"broken")
    with pytest.raises(ModelError, match=rf"{converted.name}: the converted model cannot be read.*remove the folder"):
        load_backend(BERT, MODEL, with_qa_head=True)


def test_a_model_without_a_tokenizer_is_compared_on_random_tokens(cache: Path, tmp_path: Path) -> None:
    folder = Path(copytree(BERT, tmp_path / "bare"))
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        (folder / name).unlink()
    assert trial_windows(BERT)
    assert not trial_windows(folder)
    load_backend(folder, MODEL, with_qa_head=True)
    assert len(list(cache.glob("ctranslate2-*/parity-*.json"))) == 1


def test_windows_are_short_and_long(untrained_model: Path) -> None:
    lengths = [len(window.ids) for window in trial_windows(untrained_model)]
    assert min(lengths) < 40
    assert max(lengths) == 384


def test_no_number_exceeds_everything() -> None:
    most = TOLERANCES["int8"]
    assert not Deviation(0.0, 0.0, 0.0).exceeds(most)
    assert Deviation(float("nan"), 0.0, 0.0).exceeds(most)
    assert Deviation(0.0, 0.0, float("nan")).exceeds(most)
    assert sys.float_info.epsilon < TOLERANCES["float32"].hidden
