"""A model in many forms, from one folder to another: what is written, what is refused, and what is said."""

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import onnxruntime
import pytest
from huggingface_hub import ModelCard
from rich.console import Console
from transformers import AutoModelForQuestionAnswering

from actors.backends.base import TRANSFORMERS_WEIGHTS
from actors.backends.exported import read_export
from actors.backends.fingerprint import content_fingerprint
from actors.backends.pytorch.torch_weights import load_model
from actors.errors import ModelError, NoModelError
from actors.export.form import ExportTools
from actors.models.hub import find_model
from actors.parameters import ModelParameters
from pipelines.errors import ConfigError, StorageError
from pipelines.export.command import Request, export, export_with
from tests.actors.helpers import GOLDEN
from tests.actors.toy_forms import ABSENT_NAME, CALIBRATED_NAME, FULL_NAME, OFF_NAME, TEXT_NAME
from tests.pipelines.export.conftest import files_in, unchecked
from tests.pipelines.s3_server import S3Server

BERT = str(GOLDEN / "models" / "bert")
FORMS = ("safetensors", "pytorch", "onnx", "ctranslate2")
pytestmark = pytest.mark.together


@dataclass
class Run:
    """What a call gave."""

    code: int
    printed: str
    said: str


def _request(output: Path | str, *formats: str, model: str = BERT, overwrite: bool = False) -> Request:
    return Request(
        ModelParameters(name=model), str(output), formats=formats, overwrite=overwrite, tools=ExportTools(threads=1)
    )


def _console() -> Console:
    return Console(file=io.StringIO(), width=400, highlight=False, markup=False)


def _text(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def _export(request: Request) -> Run:
    """With the comparison with torch."""
    console, said = _console(), list[str]()
    code = export(request, console, said.append)
    return Run(code, _text(console), "\n".join(said))


def _quick(request: Request) -> Run:
    """Without it."""
    console, said = _console(), list[str]()
    code = export_with(request, unchecked, console, said.append)
    return Run(code, _text(console), "\n".join(said))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A golden model in all simple forms, compared with torch."""
    output = tmp_path_factory.mktemp("whole") / "bert"
    return output, _export(_request(output, *FORMS))


def test_every_form_is_kept_and_in_the_record(whole: tuple[Path, Run]) -> None:
    output, run = whole
    assert run.code == 0, run.said
    record = read_export(output)
    assert record is not None
    assert {(form.name, form.precision) for form in record.forms} == {
        *((name, "float32") for name in ("safetensors", "pytorch")),
        *(("onnx", precision) for precision in ("float32", "float16", "int8")),
        *(("ctranslate2", precision) for precision in ("float32", "int8")),
    }
    assert record.has_qa_head
    assert not record.left_out
    assert record.fingerprint == content_fingerprint(output, TRANSFORMERS_WEIGHTS)
    assert record.source_fingerprint == content_fingerprint(Path(BERT), TRANSFORMERS_WEIGHTS)
    listed = {file.path for form in record.forms for file in form.files}
    assert files_in(output) - listed == {
        *("config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"),
        *("README.md", "_export.json"),
    }


def test_figures_say_how_far_each_is_off(whole: tuple[Path, Run]) -> None:
    record = read_export(whole[0])
    assert record is not None
    exact, fast = (record.form("onnx", precision) for precision in ("float32", "int8"))
    assert exact is not None
    assert fast is not None
    assert exact.parity is not None
    assert fast.parity is not None
    off, far = exact.parity["largest_logit"], fast.parity["largest_logit"]
    assert off is not None
    assert far is not None
    assert 0 < off < 1e-3 < far
    assert exact.parity["equal_spans"] == 1.0
    assert exact.parity["rows"] == 24


def test_transformers_and_onnxruntime_read_the_folder(whole: tuple[Path, Run]) -> None:
    output, _ = whole
    for settings in ({}, {"use_safetensors": False}):
        _, report = AutoModelForQuestionAnswering.from_pretrained(output, output_loading_info=True, **settings)
        assert not report["missing_keys"]
    for name in ("model", "model_fp16", "model_quantized"):
        session = onnxruntime.InferenceSession(output / "onnx" / f"{name}.onnx", providers=["CPUExecutionProvider"])
        assert [one.name for one in session.get_outputs()] == ["start_logits", "end_logits", "last_hidden_state"]


def test_the_card_names_forms_and_checksums(whole: tuple[Path, Run]) -> None:
    output, _ = whole
    card = ModelCard.load(output / "README.md")
    assert card.data.pipeline_tag == "question-answering"
    record = read_export(output)
    assert record is not None
    for form in record.forms:
        for file in form.files:
            assert f"| `{file.path}` | {file.bytes:,} | `{file.sha256}` |" in card.text


def test_progress_and_result_are_told(whole: tuple[Path, Run]) -> None:
    output, run = whole
    assert "2 of 7: pytorch float32: writing" in run.said
    assert f"7 forms in {output}" in run.printed
    assert "onnx" in run.printed


def test_nothing_is_mixed_with_what_is_there(whole: tuple[Path, Run], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("a card of somebody")
    with pytest.raises(ConfigError, match=r"README\.md.*--overwrite"):
        _quick(_request(tmp_path, "pytorch"))
    assert files_in(tmp_path) == {"README.md"}
    assert _quick(_request(tmp_path, "pytorch", overwrite=True)).code == 0
    assert "Spanmill" in (tmp_path / "README.md").read_text()


def test_a_form_that_is_off_is_not_kept_and_the_others_are(tmp_path: Path) -> None:
    output = tmp_path / "out"
    run = _export(_request(output, OFF_NAME, "pytorch"))
    assert run.code == 1
    assert f"not kept: {OFF_NAME} in float32" in run.printed
    assert not (output / "text").exists()
    assert (output / "pytorch_model.bin").is_file()
    record = read_export(output)
    assert record is not None
    assert [one.name for one in record.left_out] == [OFF_NAME]
    assert record.left_out[0].reason.startswith("text in float32 is too far from torch")
    card = (output / "README.md").read_text()
    assert record.left_out[0].reason in card
    assert str(tmp_path) not in card


def test_a_form_of_another_package_is_written_and_compared(tmp_path: Path) -> None:
    """Nothing of it is in Spanmill: it is named by its place."""
    run = _export(_request(tmp_path / "out", TEXT_NAME))
    assert run.code == 0
    record = read_export(tmp_path / "out")
    assert record is not None
    form = record.form(TEXT_NAME, "float32")
    assert form is not None
    assert form.parity is not None
    assert form.parity["equal_spans"] == 1.0
    assert "| text | people with time |" in (tmp_path / "out" / "README.md").read_text()


def test_a_model_without_a_head_is_exported_as_an_encoder(golden_copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder = golden_copy("bert")
    load_model(folder, with_qa_head=False).save_pretrained(folder)
    request = _request(tmp_path / "out", "ctranslate2", model=str(folder))
    with pytest.raises(ConfigError, match=r"names no QA head, so it finds no answers; .* give --encoder"):
        _quick(request)
    assert not (tmp_path / "out").exists()
    run = _export(replace(request, as_encoder=True))
    assert run.code == 0, run.said
    record = read_export(tmp_path / "out")
    assert record is not None
    assert not record.has_qa_head
    assert not list((tmp_path / "out").rglob("qa_outputs.safetensors"))
    assert ModelCard.load(tmp_path / "out" / "README.md").data.pipeline_tag == "feature-extraction"


def test_a_model_with_a_head_is_no_mere_encoder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--encoder: .* has a QA head"):
        _quick(replace(_request(tmp_path / "out", "pytorch"), as_encoder=True))
    assert list(tmp_path.iterdir()) == []


def test_activations_are_quantized_by_the_rows_that_are_named(tmp_path: Path) -> None:
    """At most 128 of them; the form that is told of them is another package's."""
    rows = [
        {"question": f"Who, {n}?", "context": f"It is {n}.", "answers": {"text": [str(n)], "answer_start": [6]}}
        for n in range(200)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    request = _request(tmp_path / "out", CALIBRATED_NAME)
    assert _export(replace(request, rows=str(tmp_path / "rows.jsonl"))).code == 0
    pairs = json.loads((tmp_path / "out/text/float32/calibration.json").read_text())
    assert len(pairs) == 128
    assert all(question[5:-1] == passage[6:-1] for question, passage in pairs)
    assert len({passage for _, passage in pairs}) == 128


def test_a_config_that_names_a_head_which_is_not_there(golden_copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder = golden_copy("bert")
    config = (folder / "config.json").read_text()
    load_model(folder, with_qa_head=False).save_pretrained(folder)
    (folder / "config.json").write_text(config)
    with pytest.raises(ModelError, match="without a QA head"):
        _quick(_request(tmp_path / "out", "pytorch", model=str(folder)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("formats", "model", "error", "says"),
    [
        (("pytorch",), "/no/such/model", NoModelError, "there is no folder /no/such/model"),
        ((ABSENT_NAME,), BERT, ConfigError, "no_such_package is not installed here"),
        (("onxx",), BERT, ConfigError, "there is no 'onxx'"),
        ((FULL_NAME,), BERT, StorageError, "No space left on device; free some space"),
    ],
)
def test_what_cannot_be_leaves_nothing(
    tmp_path: Path, formats: tuple[str, ...], model: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        _quick(_request(tmp_path / "out", *formats, model=model))
    assert list(tmp_path.iterdir()) == []


def test_a_kind_that_a_form_cannot_hold(golden_copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder = golden_copy("bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "electra"}))
    with pytest.raises(ModelError, match="is a electra, which the form ctranslate2 cannot hold; it holds bert"):
        _quick(_request(tmp_path / "out", "ctranslate2", model=str(folder)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["models/bert", "models"])
def test_a_model_is_never_replaced_by_its_own_export(
    golden_copy: Callable[[str], Path], tmp_path: Path, place: str
) -> None:
    folder = golden_copy("bert")
    before = files_in(tmp_path)
    with pytest.raises(ConfigError, match="is, or holds, the model itself"):
        _quick(_request(tmp_path / place, "pytorch", model=str(folder), overwrite=True))
    assert files_in(tmp_path) == before


def test_from_a_store_to_a_store(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.storage.filesystem import resolve, write_atomic

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source, target = f"s3://bucket/{tmp_path.name}/model", f"s3://bucket/{tmp_path.name}/exported"
    store = resolve(source, s3.options)
    for path in Path(BERT).iterdir():
        write_atomic(store.fs, store.path(path.name), path.read_bytes())
    write_atomic(store.fs, store.path("README.md"), b"---\nlicense: mit\n---\n")
    model = ModelParameters(name=source, storage=s3.options)
    request = replace(_request(target, "pytorch"), model=model, storage=s3.options)
    run = _quick(request)
    assert run.code == 0
    assert "_export.json" in run.said.splitlines()[-1]
    folder = find_model(ModelParameters(name=target, storage=s3.options))
    assert load_model(folder, with_qa_head=True).config.model_type == "bert"
    card = resolve(target, s3.options)
    assert b"license: mit" in bytes(card.fs.cat_file(card.path("README.md")))
    with pytest.raises(ConfigError, match="--overwrite"):
        _quick(request)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="name a folder that you may write to"):
        _quick(_request(tmp_path / "locked" / "out", "pytorch"))
