"""A job and its output folder."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from pipelines.errors import ManifestError
from pipelines.output.manifest import MANIFEST_NAME, Manifest, open_or_create, overwrite, read_manifest
from pipelines.output.parts import ShardId, write_success
from pipelines.output.receipt import Receipt
from pipelines.output.receipt_log import ReceiptLog
from pipelines.output.sinks.folder import PartsFolder
from pipelines.planning.plan import Plan
from pipelines.rows.quarantine import Reason
from pipelines.schemas import QUARANTINE_SCHEMA
from pipelines.storage.filesystem import Store, resolve
from tests.pipelines.helpers import jsonl, plan_of, qa_rows


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return resolve(str(tmp_path / "out"))


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_bytes(jsonl(qa_rows(3)))
    return plan_of(tmp_path)


def _manifest(plan: Plan, **changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "kind": "answer",
        "model": "a1b2",
        "backend": "torch",
        "results": {"qa": {"top_k": 1, "max_seq_len": None}, "corpus": {"carry": []}},
        "output_schema": "id: string",
        "plan": plan.to_json(),
        "created": "2026-01-01T00:00:00Z",
        "spanmill": "0.1.0",
    }
    return Manifest(**{**values, **changes})


def _open(store: Store, manifest: Manifest) -> Manifest:
    return open_or_create(store, read_manifest(store), manifest)


def test_created_once_and_found_again(store: Store, plan: Plan, tmp_path: Path) -> None:
    assert read_manifest(store) is None
    first = _open(store, _manifest(plan))
    assert first == _manifest(plan)
    assert Plan.from_json(first.plan) == plan
    # Another cut, another moment and another version of the program resume the job as it was cut.
    other = plan_of(tmp_path, unit_bytes=10, shard_rows=1)
    again = _open(store, _manifest(other, created="2027-01-01T00:00:00Z", spanmill="0.2.0"))
    assert again == first
    assert _manifest(other).job_id != first.job_id, "parts of another cut must never mix with these"
    assert len(first.job8) == 8
    assert first.job_id.startswith(first.job8)


def test_how_the_runtime_was_decided_is_kept_and_changes_no_job(store: Store, plan: Plan) -> None:
    plain = _manifest(plan)
    assert "runtime" not in plain.to_json(), "versions from before there was such a key read it too"
    chosen = _open(store, _manifest(plan, runtime={"reason": "1.5 times torch"}))
    assert chosen.job_id == plain.job_id
    assert _open(store, plain) == chosen
    assert orjson.loads(Path(store.path(MANIFEST_NAME)).read_bytes())["runtime"] == {"reason": "1.5 times torch"}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": "c3d4"}, 'model.fingerprint: "a1b2" -> "c3d4"'),
        ({"kind": "embed"}, 'kind: "answer" -> "embed"'),
        ({"backend": "onnx"}, 'model.backend, model.precision: "torch" -> "onnx"'),
        ({"results": {"qa": {"top_k": 3, "max_seq_len": None}, "corpus": {"carry": []}}}, "qa.top_k: 1 -> 3"),
        ({"results": {"qa": {"top_k": 1}, "corpus": {"carry": []}}}, "qa.max_seq_len: null -> (absent)"),
    ],
)
def test_differences_are_spelled_out(store: Store, plan: Plan, changes: dict[str, Any], line: str) -> None:
    first = _open(store, _manifest(plan))
    other = _manifest(plan, **changes)
    with pytest.raises(ManifestError) as raised:
        _open(store, other)
    assert line in str(raised.value)
    assert "--overwrite" in str(raised.value)
    assert other.job_id != first.job_id


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2}'])
def test_a_damaged_manifest(store: Store, plan: Plan, content: bytes) -> None:
    _open(store, _manifest(plan))
    Path(store.path(MANIFEST_NAME)).write_bytes(content)
    with pytest.raises(ManifestError, match=r"_manifest\.json: not a manifest .*--overwrite"):
        _open(store, _manifest(plan))


def test_parts_without_a_manifest(store: Store, plan: Plan) -> None:
    Path(store.root).mkdir()
    Path(store.path("readme.md")).write_text("mine")
    _open(store, _manifest(plan))
    Path(store.path(MANIFEST_NAME)).unlink()
    empty = QUARANTINE_SCHEMA.empty_table()
    PartsFolder(store, "0" * 8, "jsonl").commit(ShardId(0, 0, True), empty, empty, {})
    with pytest.raises(ManifestError, match=r"holds 1 part .* but no _manifest\.json"):
        _open(store, _manifest(plan))


def test_overwrite_removes_only_ours(store: Store, plan: Plan) -> None:
    assert overwrite(store, PartsFolder(store, "0" * 8, "parquet")) == 0
    stored = _open(store, _manifest(plan))
    bad = QUARANTINE_SCHEMA.empty_table().from_pylist([{"reason": Reason.NULL_TEXT}], schema=QUARANTINE_SCHEMA)
    parts = PartsFolder(store, stored.job8, "parquet")
    parts.commit(ShardId(0, 0, True), bad, bad, {})
    for _ in range(2):
        ledger = ReceiptLog(parts)
        ledger.add(Receipt(ShardId(0, 0, True), "a.jsonl"))
        ledger.write()
    write_success(store, {})
    mine = {"notes.txt", "_quarantine/notes.txt", "part-x.parquet", "sub/part-00000-00000z-00000000.parquet"}
    mine |= {"_receipts/notes.txt", "_receipts/mine.parquet", "report.html"}
    ours = {".spanmill-1.tmp", "_receipts/.spanmill-2.tmp", "_quarantine/.spanmill-3.tmp", "_report.html"}
    for name in mine | ours:
        Path(store.path(name)).parent.mkdir(exist_ok=True)
        Path(store.path(name)).write_text("x")
    assert overwrite(store, parts) == 4 + 2 + len(ours)
    root = Path(store.root)
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == mine
    assert _open(store, _manifest(plan, model="new")).model == "new"


def test_no_storage_options_are_stored(store: Store, tmp_path: Path, plan: Plan) -> None:
    secret = plan_of(tmp_path, storage={"token": "hush-hush"})
    _open(store, _manifest(secret))
    stored = Path(store.path(MANIFEST_NAME)).read_bytes()
    assert b"hush" not in stored
    assert orjson.loads(stored)["version"] == 1
