"""What is said at the end of a job."""

import io
import re
import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from actors.engine.pass_stats import LengthBucket, PassStats
from pipelines.cli.commands.run_job import finished_table, outcome_table
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.console import Pairs
from pipelines.execution.outcome import Outcome
from pipelines.job.job import Job, bind
from pipelines.output.parts import REPORT_JSON, ShardId, write_success
from pipelines.output.receipt import RECEIPT_SCHEMA
from pipelines.output.row_counts import RowCounts
from pipelines.reporting.progress import Tally
from pipelines.schemas import QUARANTINE_SCHEMA
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl


@pytest.fixture
def job(tmp_path: Path, untrained_model: Path) -> Job:
    write_jsonl(tmp_path / "in" / "a.jsonl", qa_rows(3))
    return bind(make_job([tmp_path / "in"], tmp_path / "out", untrained_model), replace=False)


def _outcome(rows: int, quarantined: int, before: int = 0, rows_before: int = 0) -> Outcome:
    stats = PassStats({128: LengthBucket(4, 8, 900, 1000, 0.5)}, Counter({128: 4}))
    tally = Tally(shards=2, rows=rows, quarantined=quarantined, answered=rows, stats=stats)
    receipts = pa.Table.from_pylist([{"answered": rows + rows_before}], RECEIPT_SCHEMA)
    reasons = Counter({"crashed": quarantined} if quarantined else {})
    counts = RowCounts(rows + rows_before, quarantined, reasons, receipts, without_receipt=0)
    return Outcome(tally, counts, before, seconds=20.0, rate=0.0)


def _said(table: Pairs, width: int = 300) -> dict[str, str]:
    screen = io.StringIO()
    table.print_to(Console(file=screen, width=width))
    pairs = (re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in screen.getvalue().splitlines())
    return {pair[0]: pair[-1] for pair in pairs}


def test_rows_are_input_rows_and_the_time_is_what_the_user_waited(job: Job) -> None:
    said = _said(outcome_table(job, _outcome(rows=1200, quarantined=1), seconds=31.7))
    assert (said["rows"], said["answered"], said["quarantined"]) == ("1,201", "1,200", "1")
    assert said["guilty"] == "1 row broke the model or its worker and is quarantined"
    assert said["whole run"] == "31.7 s, planning and the start of Ray and model included: 37.9 rows/s"
    assert said["one actor"] == "2,400.0 rows/s, 1,800 tokens/s while in a pass"
    assert said["windows a pass"] == "2.0 of 128 tokens"
    assert "once it ran" not in said, "nobody knows when it began"
    assert said["report"] == f"{job.store.url}/_report.html"
    assert "shards" not in said


def test_a_run_that_went_on_shows_the_whole_job_beside_it(job: Job) -> None:
    said = _said(outcome_table(job, _outcome(rows=60, quarantined=0, before=3, rows_before=300), seconds=31.7))
    assert said["rows"] == "60 of 360 in the whole job"
    assert said["answered"] == "60 of 360 in the whole job"
    assert said["quarantined"] == "0 of 0 in the whole job"
    assert said["shards"] == "2 of 5 in the whole job"


def test_what_no_receipt_tells_is_left_out(job: Job) -> None:
    outcome = _outcome(rows=60, quarantined=0, before=3, rows_before=300)
    outcome = replace(outcome, counts=replace(outcome.counts, without_receipt=1))
    assert _said(outcome_table(job, outcome, seconds=31.7))["answered"] == "60"


@pytest.mark.parametrize(("name", "format"), [("out", "parquet"), ("o ut", "jsonl"), ("o'ut", "parquet")])
def test_the_next_command_runs_where_the_job_ran_and_shows_rows(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch, name: str, format: str
) -> None:
    corpus = write_jsonl(tmp_path / "in.jsonl", qa_rows(6))
    words = (f"output.format={format}", "corpus.shard_rows=2")
    job = bind(make_job([corpus], tmp_path / name, untrained_model, *words), replace=False)
    for number in range(3):
        rows = [{"id": f"q{2 * number + row}", "answer": "x" * 200} for row in range(2)]
        table = pa.Table.from_pylist(rows, job.schema)
        job.parts.commit(ShardId(0, number, number == 2), table, QUARANTINE_SCHEMA.empty_table(), {})
    write_success(job.store, {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    command = _said(finished_table(job.config, str(tmp_path / name), _outcome(6, 0).counts), width=80)["next"]
    assert command.endswith(f"spanmill status {shlex.quote(name)} --rows 3")
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, text=True, check=True)
    shown = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in shown[-4:]] == ["quarantined", "id='q0'", "id='q1'", "id='q2'"]
    assert shown[-1].split("  ")[1].endswith("xxx...")


def test_the_next_command_of_a_store_says_which_options_it_lacks_and_none_of_them(job: Job) -> None:
    own_sink = job.config.output.model_copy(update={"sink": "package.module:Sink"})
    for config, command in (
        (
            load_config(AnswerConfig, None, ["output.storage={secret: x}"]),
            "status s3://b/out --rows 3 --set output.storage=...",
        ),
        (job.config.model_copy(update={"output": own_sink}), "status s3://b/out"),
    ):
        assert _said(finished_table(config, "s3://b/out", _outcome(2, 0).counts))["next"].endswith(
            f"spanmill {command}"
        )


def test_a_rerun_of_a_finished_job_says_so_without_torch_and_ray(
    job: Job, tmp_path: Path, untrained_model: Path
) -> None:
    job.parts.commit(
        ShardId(0, 0, True), pa.Table.from_pylist([{"id": "q0"}] * 3, job.schema), QUARANTINE_SCHEMA.empty_table(), {}
    )
    write_success(job.store, {})
    (tmp_path / "out" / REPORT_JSON).write_text("{}")
    program = """
import sys
from pipelines.cli.main import main
try:
    main()
finally:
    print([name for name in ("torch", "ray", "transformers") if name in sys.modules])
"""
    words = ("answer", tmp_path / "in", tmp_path / "out", "--model", untrained_model, "--set", "model.threads=1")
    done = subprocess.run((sys.executable, "-c", program, *map(str, words)), capture_output=True, text=True)
    first, *rest, last = done.stdout.splitlines()
    assert (done.returncode, first, last) == (0, "complete: 3 rows, nothing to do", "[]"), done.stderr
    assert f"report  {tmp_path}/out/_report.html" in "\n".join(rest)
