"""A whole job in a runtime whose model is converted first."""

from pathlib import Path

import orjson
import pytest

from actors.parameters import QAParameters
from tests.actors.helpers import GOLDEN
from tests.pipelines.jobs import bare_engine, mixed_rows, part_rows, run_job, same_answer, write_jsonl

pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.usefixtures("conversions")]


@pytest.mark.more
def test_a_job_in_onnx_runtime_answers_as_the_engine_in_torch(tmp_path: Path) -> None:
    rows, model = mixed_rows(12), GOLDEN / "models" / "bert"
    ran = run_job([write_jsonl(tmp_path / "rows.jsonl", rows)], tmp_path / "out", model, "model.backend=onnxruntime")
    assert ran.outcome.exit_code == 0
    assert orjson.loads((tmp_path / "out" / "_manifest.json").read_bytes())["backend"] == "onnxruntime float32"
    found, expected = part_rows(tmp_path / "out"), bare_engine(model, rows, QAParameters())
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert all(same_answer(row, one["answers"][0]) for row, one in zip(found, expected, strict=True))
