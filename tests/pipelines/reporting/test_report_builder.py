"""The report of a job that ran here without Ray, held against what is in its folder."""

import logging
from collections import Counter
from dataclasses import dataclass, replace
from functools import reduce
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from actors.models.runtime_choice import Measurement, RuntimeChoice
from pipelines.config.job import AnswerConfig, EmbedConfig
from pipelines.execution.stage_factory import make_stages
from pipelines.job.job import Job, bind
from pipelines.job.pool_size import ActorPool
from pipelines.output.parts import REPORT_HTML, REPORT_JSON, ShardId
from pipelines.output.receipt import Receipt
from pipelines.output.receipt_log import ReceiptLog
from pipelines.output.row_counts import read_counts
from pipelines.reporting.html import render
from pipelines.reporting.progress import Tally
from pipelines.reporting.report_builder import RunCluster, make_report, write_report
from pipelines.stages.pending_units import PendingUnit
from pipelines.storage.filesystem import resolve
from tests.pipelines.jobs import Kind, make_job, mixed_rows, part_rows, write_jsonl

HOSTILE = "</pre><script>alert(1)</script><img src=https://evil.example/x.png onerror=alert(2)>"
BAD: list[object] = [
    b'{"id": "cut", "question": "Wh',
    {"id": HOSTILE, "question": HOSTILE, "context": 7},
    *({"id": f"null{i}", "question": None, "context": HOSTILE} for i in range(5)),
]
PLACE = RunCluster(1, {"CPU": 2.0, "GPU": 1.0, "accelerator_type:H100": 1.0}, ActorPool(1, 2, 1.0, 0.5, 1))
LOST = Receipt(ShardId(7, 3, False), HOSTILE, failed_in="read", error=HOSTILE)


@dataclass(frozen=True)
class Reported:
    job: Job
    tally: Tally
    json: dict[str, Any]
    html: str


def _run_here(job: Job, last_receipt: bool = False) -> Tally:
    """The stages one after the other, as Ray would run them; the last shard leaves no receipt unless it is wanted."""
    stages, tally, ledger = make_stages(job, PLACE.pool), Tally(), ReceiptLog(job.parts)
    later = [stage.open() for stage in (*stages.compute, stages.write)]
    tables = list(stages.read.stage(PendingUnit.to_table(PendingUnit.left(job.plan, job.committed()))))
    for number, table in enumerate(tables):
        [receipt] = Receipt.from_table(reduce(lambda message, stage: stage(message), later, table))
        tally.add(receipt)
        if last_receipt or number < len(tables) - 1:
            ledger.add(receipt)
    ledger.write()
    return tally


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory, untrained_model: Path) -> Reported:
    folder = tmp_path_factory.mktemp("reported")
    good = mixed_rows(20)
    # The hostile rows' file has a name to match.
    write_jsonl(folder / "in" / "a<script>.jsonl", [*good[:12], *BAD])
    write_jsonl(folder / "in" / "b.jsonl", good[12:])
    words = ("corpus.shard_rows=5", "output.storage={auto_mkdir: true}", "batching.fixed_windows=3")
    job = bind(make_job([folder / "in"], folder / "out", untrained_model, *words), replace=False)
    tally = _run_here(job)
    tally.add(LOST)
    write_report(job, PLACE, tally, read_counts(job.parts, job.committed()), complete=False)
    output = folder / "out"
    return Reported(job, tally, orjson.loads((output / REPORT_JSON).read_bytes()), (output / REPORT_HTML).read_text())


def test_the_totals_are_those_of_the_parts(reported: Reported) -> None:
    output, totals = Path(reported.job.store.root), reported.json["totals"]
    rows, quarantine = part_rows(output), pq.read_table(output / "_quarantine")
    assert (totals["written_rows"], totals["quarantined"]) == (len(rows), len(quarantine)) == (20, len(BAD))
    assert totals["input_rows"] == 20 + len(BAD)
    assert (totals["shards"], totals["without_receipt"]) == (6, 1)
    assert reported.json["complete"] is False
    counted = quarantine.group_by("reason").aggregate([("reason", "count")]).to_pylist()
    found = {entry["reason"]: entry["rows"] for entry in reported.json["quarantine"]}
    assert found == {row["reason"]: row["reason_count"] for row in counted}
    assert list(found) == ["null_question", "malformed_json", "wrong_type"], "the most frequent reason comes first"


def test_the_passes_are_those_of_the_shards_with_receipts(reported: Reported) -> None:
    receipts = read_counts(reported.job.parts, reported.job.committed()).receipts
    shards = Receipt.from_table(receipts.drop(["run"]))
    totals, buckets = reported.json["totals"], reported.json["buckets"]
    assert sum(reported.json["scores"]) == totals["answered"] == sum(shard.answered for shard in shards) == 17
    assert sum(bucket["windows"] for bucket in buckets) == totals["windows"]
    assert totals["windows"] == sum(shard.stats.total.windows for shard in shards)
    assert sum(bucket["tokens"] for bucket in buckets) == totals["tokens"]
    assert all(bucket["mean_batch"] == bucket["windows"] / bucket["passes"] <= 3 for bucket in buckets)
    assert sum(reported.json["pass_milliseconds"].values()) == totals["passes"]
    assert [shard["seconds"] for shard in reported.json["slowest"]] == sorted(
        (round(shard.seconds, 3) for shard in shards), reverse=True
    )
    speed = reported.json["speed"]
    assert sum(speed["rows"]) * speed["seconds_per_point"] == pytest.approx(17 + len(BAD), rel=1e-3)
    [run], [node] = reported.json["runs"], reported.json["nodes"]
    assert (run["shards"], run["written_rows"], run["quarantined"]) == (5, 17, len(BAD))
    assert run["input_rows"] == 17 + len(BAD)
    assert (node["written_rows"], node["tokens"]) == (17, totals["tokens"])


def test_what_ran_on_what(reported: Reported) -> None:
    subject, machines = reported.json["subject"], reported.json["machines"]
    assert (subject["kind"], subject["job"]) == ("answer", reported.job.manifest.job_id)
    assert (subject["files"], subject["units"], subject["fingerprint"]) == (2, 2, reported.job.model.fingerprint)
    assert {"corpus.shard_rows": 5, "batching.fixed_windows": 3}.items() <= subject["changed"].items()
    assert "auto_mkdir" not in str(reported.json), "options of a store may be secret"
    assert (machines["accelerators"], machines["actors"], machines["most_actors"]) == (["H100"], 1, 2)
    assert reported.json["failures"] == [{"shard": "00007-00003", "file": HOSTILE, "stage": "read", "error": HOSTILE}]


class _Page(HTMLParser):
    """Elements that open and close, and the text between them."""

    VOID = frozenset(("meta", "br", "img", "link", "input", "path"))

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_hostile_rows_as_text_and_loads_nothing(reported: Reported) -> None:
    page = _Page(reported.html)
    assert not {"script", "img", "link", "iframe", "object", "base", "form", "image", "use"} & set(page.tags)
    assert all(
        not name.startswith("on") and name not in ("src", "href", "srcset", "xlink:href") for name, _ in page.attributes
    )
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert "url(" not in reported.html
    assert "@import" not in reported.html
    # In the row of a null question, in the failure's file and in its error.
    assert page.text.count(HOSTILE) >= 3
    assert "a<script>.jsonl" in page.text
    lines = [line.strip() for line in page.text.split("\n")]
    assert {"Answers", "Figures", "Lengths and batches", "Quarantine", "Slowest shards", "Words"} <= set(lines)
    assert not {"Speed", "Scores"} & set(lines), "a chart of five shards, or of 17 rows, says nothing"
    assert lines.index("Answers") < lines.index("Figures")


def test_it_opens_with_answers_marked_in_their_passages(reported: Reported) -> None:
    groups = {group["name"]: group["rows"] for group in reported.json["answers"]["groups"]}
    assert [(name, len(rows)) for name, rows in groups.items()] == [("best", 4), ("worst", 4), ("random", 6)]
    assert reported.json["answers"]["looked_at"] == 17
    passages = {row["id"]: row["context"] for row in mixed_rows(20)}
    written = {row["id"]: row for row in part_rows(Path(reported.job.store.root))}
    for row in chain.from_iterable(groups.values()):
        assert row["before"] + row["answer"] in passages[row["id"]]
        assert (row["answer"], row["score"]) == (written[row["id"]]["answer"], written[row["id"]]["score"])
    best, worst = ([row["score"] for row in groups[name]] for name in ("best", "worst"))
    assert min(best) >= max(worst)
    assert reported.html.count("<mark>") == 14


def test_a_short_job_has_no_empty_section(tmp_path: Path, untrained_model: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", mixed_rows(2))
    job = bind(make_job([tmp_path / "in.jsonl"], tmp_path / "out", untrained_model), replace=False)
    tally = _run_here(job, last_receipt=True)
    write_report(job, None, tally, read_counts(job.parts, job.committed()), complete=True)
    text = (tmp_path / "out" / REPORT_HTML).read_text()
    page = _Page(text)
    lines = [line.strip() for line in page.text.split("\n")]
    assert not {"Speed", "Scores", "Time of a pass", "Quarantine", "Slowest shards", "Runs", "Machines"} & set(lines)
    assert "svg" not in page.tags
    assert (text.count("<mark>"), text.count("<tbody>")) == (2, text.count("</tr></thead>"))


def test_embeddings_are_shown_as_neighbours(tmp_path: Path, untrained_model: Path) -> None:
    texts = [{"id": row["id"], "text": row["context"]} for row in mixed_rows(8)]
    write_jsonl(tmp_path / "in.jsonl", texts)
    made = make_job(
        [tmp_path / "in.jsonl"], tmp_path / "out", untrained_model, "embedding.dtype=float16", kind=EmbedConfig
    )
    job = bind(made, replace=False)
    tally = _run_here(job, last_receipt=True)
    report = make_report(job, None, tally, read_counts(job.parts, job.committed()), complete=True)
    assert report.answers is None
    assert report.neighbours is not None
    assert report.neighbours.looked_at == len({row["text"] for row in texts})
    rows = {row["id"]: np.array(row["embedding"], np.float32) for row in part_rows(tmp_path / "out")}
    for around in report.neighbours.closest:
        nearest = around.nearest[0]
        assert nearest.similarity == pytest.approx(float(rows[around.id] @ rows[nearest.id]), abs=2e-3)
    assert "Texts and their nearest neighbours" in _Page(render(report)).text


@pytest.mark.parametrize("kind", [AnswerConfig, EmbedConfig])
def test_half_precision_is_held_against_float32(tmp_path: Path, untrained_model: Path, kind: Kind) -> None:
    rows = [{**row, "text": row["context"]} for row in mixed_rows(10)]
    write_jsonl(tmp_path / "in.jsonl", rows)
    words = ("model.dtype=bfloat16", "model.device=cpu", "corpus.shard_rows=5")
    job = bind(make_job([tmp_path / "in.jsonl"], tmp_path / "out", untrained_model, *words, kind=kind), replace=False)
    tally = _run_here(job, last_receipt=True)
    report = make_report(job, None, tally, read_counts(job.parts, job.committed()), complete=True)
    found = report.agreement
    assert found is not None
    texts = {(row["question"] if kind is AnswerConfig else "", row["text"]) for row in rows}
    assert (found.precision, found.rows) == ("bfloat16", len(texts))
    text = " ".join(_Page(render(report)).text.split())
    assert f"{found.rows} rows of this job were computed in float32 as well" in text
    if kind is AnswerConfig:
        assert found.equal_spans is not None
        assert 0 <= found.equal_spans <= 1
        assert found.score_difference is not None
        assert found.score_difference_p95 is not None
        assert 0 <= found.score_difference <= found.score_difference_p95 < 0.1
        assert found.cosine is None
        assert "the same span" in text
    else:
        assert found.cosine is not None
        assert found.cosine_p5 is not None
        assert 0.99 < found.cosine_p5 <= found.cosine <= 1.0001
        assert found.equal_spans is None
        assert "cosine of embeddings" in text


def test_nothing_is_said_of_precision_where_it_is_exact(reported: Reported) -> None:
    assert reported.json["agreement"] is None
    assert "Precision" not in _Page(reported.html).text


def test_how_the_runtime_was_chosen_is_a_table(reported: Reported) -> None:
    assert reported.json["runtime"] is None
    assert "Compared before the job was begun" not in _Page(reported.html).text
    measured = (Measurement("quick int8", 2, 1, 1234.5, 3.0, "chosen"), Measurement("slow", verdict=HOSTILE))
    told = RuntimeChoice(
        "quick", "int8", "1.6 times torch float32", 2, measured, seconds=14.0, most_seconds=24.0, windows=128
    )
    manifest = reported.job.manifest.model_copy(update={"runtime": told.to_json()})
    job = replace(reported.job, manifest=manifest)
    report = make_report(job, None, reported.tally, read_counts(job.parts, job.committed()), complete=True)
    assert report.runtime is not None
    assert report.runtime.measurements == list(measured)
    html = render(report)
    text = " ".join(_Page(html).text.split())
    assert "quick int8, 2 actors side by side: 1.6 times torch float32" in text
    assert "for 14 s of at most 24 s, on 128 windows of its input" in text
    assert "1,234" in text
    assert HOSTILE not in html


def test_values_that_are_lost_are_named_with_their_mend(reported: Reported) -> None:
    assert reported.json["misfits"] == []
    counts = read_counts(reported.job.parts, reported.job.committed())
    counts = replace(counts, misfits=Counter({("zip <b>", "null"): 1234}))
    report = make_report(reported.job, None, Tally(), counts, complete=True)
    [found] = report.misfits
    assert (found.column, found.outcome, found.rows) == ("zip <b>", "null", 1234)
    text = _Page(render(report)).text
    assert "1,234 values do not fit the column's type and are null" in text
    assert found.mend == "corpus.types: {zip <b>: string}"
    assert found.mend in text


def test_half_a_character(reported: Reported, tmp_path: Path) -> None:
    """A lone surrogate in an error has no bytes in UTF-8; the report is written all the same."""
    job = replace(reported.job, store=resolve(str(tmp_path)))
    tally = Tally()
    tally.mishaps.append("half: \ud83d")
    write_report(job, None, tally, read_counts(job.parts, job.committed()), complete=False)
    assert r"half: \ud83d" in (tmp_path / REPORT_HTML).read_text()
    report = orjson.loads((tmp_path / REPORT_JSON).read_bytes())
    assert (report["machines"], report["totals"]["input_rows"], report["runs"]) == (None, 0, [])


def test_a_folder_that_takes_no_report_costs_no_job(
    reported: Reported, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / REPORT_JSON / "in the way").mkdir(parents=True)
    job = replace(reported.job, store=resolve(str(tmp_path)))
    with caplog.at_level(logging.WARNING, "spanmill.report"):
        write_report(job, None, Tally(), read_counts(job.parts, job.committed()), complete=False)
    [record] = caplog.records
    assert record.getMessage().startswith("report not written: ")
    assert REPORT_JSON in record.getMessage()
