"""One whole job over good files and bad ones: what is good is committed, what is bad is said."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipelines.errors import JobError, ManifestError
from pipelines.execution.executor import execute
from pipelines.job.job import bind
from tests.pipelines.helpers import compressed, jsonl, qa_rows, spoil, spoil_group
from tests.pipelines.jobs import make_job, part_rows, parts, run_job, write_jsonl

pytestmark = pytest.mark.usefixtures("cluster")


def test_bad_files_take_no_good_one_with_them(tmp_path: Path, untrained_model: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    rows, good = qa_rows(20), {"question": "Who?", "context": "Ada waits by the mill."}
    bad = [{**good, "id": "long", "context": "word " * 1_000_000}, b"x" * (65 << 20), b"{", {**good, "id": "\u0000"}]
    write_jsonl(folder / "a.jsonl", [*rows, *bad, {**good, "id": "last"}])
    write_jsonl(folder / "b-empty.jsonl", [])
    write_jsonl(folder / "c-changed.jsonl", rows)
    for name in ("d-gone", "e-damaged", "z"):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet", row_group_size=10)
    cut = compressed(b"\n" * 100_000 + jsonl(rows), "gzip")
    (folder / "f-cut.jsonl.gz").write_bytes(cut)

    words = ("corpus.shard_rows=10", "ray.passes=1")
    job = bind(make_job([folder], output, untrained_model, *words), replace=False)
    write_jsonl(folder / "c-changed.jsonl", rows[::-1])
    (folder / "d-gone.parquet").unlink()
    data = bytearray((folder / "e-damaged.parquet").read_bytes())
    data[8:150] = b"\xff" * 142
    spoil(folder / "e-damaged.parquet", bytes(data))
    spoil(folder / "f-cut.jsonl.gz", cut[:-9] + bytes(9))

    with pytest.raises(JobError, match="4 of 8 read units are not complete; everything else is committed") as raised:
        execute(job, Console(quiet=True))
    for words_of in (
        "c-changed.jsonl: the file changed since the job was planned",
        "d-gone.parquet: the file is gone since the job was planned",
        "e-damaged.parquet: damaged, cut short",
        "f-cut.jsonl.gz: the gzip stream is damaged or cut short",
    ):
        assert words_of in str(raised.value)
    units = {job.plan.units[int(part.name.split("-")[1])] for part in parts(output)}
    assert {job.plan.file_of(unit).name for unit in units} == {"a.jsonl", "b-empty.jsonl", "z.parquet"}
    names = [row["id"] for row in rows]
    found = [row["id"] for row in part_rows(output)]
    assert found == [*names, "\u0000", "last", *names]
    quarantine = pq.read_table(output / "_quarantine").to_pylist()
    assert [row["reason"] for row in quarantine] == ["text_too_long", "line_too_long", "malformed_json"]

    with pytest.raises(ManifestError, match=r"1 gone \(d-gone\.parquet\), 1 changed \(c-changed\.jsonl\)"):
        run_job([folder], output, untrained_model, *words)


def test_a_corpus_of_nothing_is_done(tmp_path: Path, untrained_model: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", [])
    pq.write_table(pa.Table.from_pylist(qa_rows(1)).slice(0, 0), tmp_path / "in" / "b.parquet")
    ran = run_job([tmp_path / "in"], tmp_path / "out", untrained_model)
    assert (ran.outcome.tally.rows, ran.outcome.tally.quarantined) == (0, 0)
    assert [len(pq.read_table(part)) for part in parts(tmp_path / "out")] == [0, 0]
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_damaged_files_cost_what_cannot_be_read_of_them(tmp_path: Path, untrained_model: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    rows = qa_rows(30)
    write_jsonl(folder / "a.jsonl", rows[:5])
    (folder / "b.parquet").write_bytes(b"PAR1 and nothing else")
    pq.write_table(pa.Table.from_pylist(rows), folder / "c.parquet", row_group_size=10)
    spoil_group(folder / "c.parquet", 1)
    (folder / "d.jsonl.gz").write_bytes(compressed(jsonl(rows), "gzip")[:-9])

    words = ("corpus.shard_rows=10", "corpus.damaged=quarantine", "ray.passes=1")
    ran = run_job([folder], output, untrained_model, *words)
    found = [row["id"] for row in part_rows(output)]
    names = [row["id"] for row in rows]
    assert found == names[:5] + names[:10] + names[20:] + names[: len(found) - 25]
    assert len(found) >= 5 + 20 + 15
    quarantine = pq.read_table(output / "_quarantine").sort_by("file").to_pylist()
    assert [(row["file"], row["reason"]) for row in quarantine] == [
        (name, "unreadable") for name in ("b.parquet", "c.parquet", "d.jsonl.gz")
    ]
    assert (quarantine[1]["place"], quarantine[1]["detail"][:17]) == (10, "10 rows are lost.")
    assert (ran.outcome.tally.rows, ran.outcome.tally.quarantined) == (len(found), 3)
    assert (output / "_SUCCESS").exists()
