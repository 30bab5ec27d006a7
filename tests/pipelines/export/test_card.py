"""The card of an export: what the hub reads, and what people do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from actors.backends.exported import EXPORT_VERSION, ExportedFile, ExportedForm, ExportRecord, LeftOutForm
from actors.export.form import find_form
from actors.parameters import ModelParameters
from pipelines.export.card import render_card, source_metadata
from tests.actors.toy_forms import TEXT, TEXT_NAME
from tests.pipelines.s3_server import S3Server

FORMS = {"safetensors": find_form("safetensors"), "onnx": find_form("onnx"), TEXT_NAME: TEXT}
MEASURED = {"largest_logit": 0.000012, "equal_spans": 0.995, "f1": 69.42, "rows": 24, "rows_per_second": None}


def _record(has_qa_head: bool = True, left_out: tuple[LeftOutForm, ...] = ()) -> ExportRecord:
    return ExportRecord(
        version=EXPORT_VERSION,
        fingerprint="ab" * 32,
        has_qa_head=has_qa_head,
        forms=(
            ExportedForm("safetensors", "float32", (ExportedFile("model.safetensors", 2_500_000, "aa" * 32),)),
            ExportedForm("onnx", "int8", (ExportedFile("onnx/model_quantized.onnx", 700_000, "bb" * 32),), MEASURED),
            ExportedForm(TEXT_NAME, "float32", (ExportedFile("text/float32/weights.json", 9, "cc" * 32),)),
        ),
        left_out=left_out,
        source="models/mine",
        versions={"spanmill": "0.1.0"},
    )


def _metadata(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n", 2)[1])
    return found


def test_the_hub_reads_it() -> None:
    text = render_card(_record(), FORMS, {"license": "apache-2.0", "language": "en"})
    ModelCard(text)
    assert _metadata(text) == {
        "language": "en",
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "question-answering",
        "tags": ["extractive-qa", "safetensors", "onnx", "text", "spanmill"],
    }


def test_an_encoder_is_for_features() -> None:
    text = render_card(_record(has_qa_head=False), FORMS, {})
    assert _metadata(text)["pipeline_tag"] == "feature-extraction"
    assert "license" not in _metadata(text)
    assert "without a QA head" in text
    assert "spanmill embed" in text


def test_tables_have_a_row_for_each_form_and_file() -> None:
    lines = render_card(_record(), FORMS, {}).splitlines()
    head = lines.index("| form | precision | MB | largest logit difference | equal spans | F1 |")
    assert lines[head + 1 : head + 5] == [
        "|---|---|---|---|---|---|",
        "| safetensors | float32 | 2.5 |  |  |  |",
        "| onnx | int8 | 0.7 | 1.2e-05 | 99.5% | 69.42 |",
        "| text | float32 | 0.0 |  |  |  |",
    ]
    assert "Compared with torch in float32 on twelve fixed windows and 24 rows." in lines
    assert f"| `onnx/model_quantized.onnx` | 700,000 | `{'bb' * 32}` |" in lines
    assert "| onnx | ONNX Runtime, Optimum, Transformers.js |" in lines
    assert "| text | people with time |" in lines


def test_what_is_not_there_is_said_with_the_reason() -> None:
    text = render_card(_record(left_out=(LeftOutForm("openvino", "int8", "too far off"),)), FORMS, {})
    assert "* openvino in int8: too far off" in text
    assert "Not here" not in render_card(_record(), FORMS, {})


@pytest.mark.parametrize("card", ["---\nlicense: mit\nlanguage: [en, de]\nbase_model: a/b\ntags: [x]\n---\n# Mine\n"])
def test_license_and_base_are_carried_over(golden_copy: Callable[[str], Path], card: str) -> None:
    folder = golden_copy("bert")
    (folder / "README.md").write_text(card)
    found = source_metadata(ModelParameters(name=str(folder)), folder)
    assert found == {"license": "mit", "language": ["en", "de"], "base_model": "a/b"}


@pytest.mark.parametrize("card", [None, "no metadata", "---\n: [broken\n---\n"])
def test_a_card_without_any_gives_nothing(golden_copy: Callable[[str], Path], card: str | None) -> None:
    folder = golden_copy("bert")
    if card is not None:
        (folder / "README.md").write_text(card)
    assert source_metadata(ModelParameters(name=str(folder)), folder) == {}


def test_the_card_of_a_model_on_a_store_is_read_there(s3: S3Server, tmp_path: Path) -> None:
    from pipelines.storage.filesystem import resolve, write_atomic

    url = f"s3://bucket/{tmp_path.name}"
    store = resolve(url, s3.options)
    write_atomic(store.fs, store.path("README.md"), b"---\nlicense: mit\n---\n")
    assert source_metadata(ModelParameters(name=url, storage=s3.options), tmp_path) == {"license": "mit"}


def test_the_shipped_model_has_a_license() -> None:
    from actors.models.hub import find_model

    shipped = ModelParameters(name="minilm-qa")
    assert source_metadata(shipped, find_model(shipped))["license"] == "apache-2.0"
