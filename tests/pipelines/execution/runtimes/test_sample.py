"""The windows on which runtimes are compared, and what they let one forecast."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from actors.models.runtime_choice import RuntimeChoice
from pipelines.execution.runtimes.prospect import LEAST_SECONDS, SHARE, prospect
from pipelines.execution.runtimes.sample import sample_windows
from pipelines.job.job import Job
from tests.pipelines.jobs import make_job, mixed_rows, write_jsonl


def _job(folder: Path, model: Path, copies: int = 1) -> Job:
    folder.mkdir(exist_ok=True)
    table = pa.Table.from_pylist(mixed_rows(40)).select(["id", "question", "context"])
    # As dictionaries compress it, a file of many copies is hardly larger than one.
    pq.write_table(pa.concat_tables([table] * copies), folder / "in.parquet")
    return make_job([folder / "in.parquet"], folder / "out", model, "model.backend='null'")


def test_a_sample_tells_the_tokens_of_a_job_however_its_file_is_compressed(
    tmp_path: Path, untrained_model: Path
) -> None:
    one, many = (sample_windows(_job(tmp_path / str(copies), untrained_model, copies)) for copies in (1, 100))
    assert one is not None
    assert many is not None
    assert 0.5 < many.job_tokens / one.job_tokens / 100 < 2
    assert one.lengths.min() > 3


def test_a_cut_has_about_the_tokens_that_are_asked_for(tmp_path: Path, untrained_model: Path) -> None:
    sample = sample_windows(_job(tmp_path, untrained_model))
    assert sample is not None
    longest = int(sample.lengths.max()) * 4
    for tokens in (1.0, 1000.0, 1e9):
        cut = sample.cut(tokens)
        total = int(cut.lengths(3).sum())
        assert 0 < total < tokens + longest
        assert total >= min(tokens, int(sample.lengths.sum()))
        assert cut.owners == len(cut.row_owner)


def test_without_a_row_there_is_no_sample(tmp_path: Path, untrained_model: Path) -> None:
    bad = write_jsonl(tmp_path / "in.jsonl", [b"{", b"["])
    assert sample_windows(make_job([bad], tmp_path / "out", untrained_model, "model.backend='null'")) is None


def test_what_would_be_done_hangs_on_the_length_of_the_job(tmp_path: Path, untrained_model: Path) -> None:
    job = _job(tmp_path, untrained_model)
    sample = sample_windows(job)
    assert sample is not None
    assert prospect(job) is None, "the config names the runtime"
    tokens = sample.job_tokens

    def said(seconds: float, is_open: bool = True) -> str | None:
        model = replace(
            job.model,
            tokens_per_second=tokens / seconds,
            runtime=RuntimeChoice("torch", "float32", "", is_open=is_open),
        )
        return prospect(replace(job, model=model))

    enough = LEAST_SECONDS / SHARE
    assert said(0.5 * enough) == "the job is too short to compare runtimes, which may take 2% of its time"
    told = said(2 * enough)
    assert told is not None
    assert told.startswith("the job would first compare the runtimes that are installed, for 0:1")
    assert said(2 * enough, is_open=False) is None
