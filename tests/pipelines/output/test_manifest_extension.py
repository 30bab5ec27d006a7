"""Files that come to the input of a job that is bound already."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus.source_file import SourceFile
from pipelines.errors import ManifestError
from pipelines.output.manifest import Manifest, open_or_create, overwrite, read_manifest
from pipelines.output.manifest_extension import InputChange, read_plan, settle_inputs
from pipelines.output.sinks.folder import PartsFolder
from pipelines.planning.plan import Plan
from pipelines.storage.filesystem import Store, resolve
from pipelines.storage.url import Url
from tests.pipelines.helpers import jsonl, plan_of, qa_rows, read_all


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return resolve(str(tmp_path / "out"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in "bd":
        (tmp_path / "in" / f"{name}.jsonl").write_bytes(jsonl(qa_rows(3)))
    return tmp_path / "in"


def _bound(store: Store, plan: Plan) -> Manifest:
    values: dict[str, Any] = {
        "kind": "answer",
        "model": "a1b2",
        "backend": "torch",
        "results": {},
        "output_schema": "id: string",
        "plan": plan.to_json(),
        "created": "2026-01-01T00:00:00Z",
        "spanmill": "0.1.0",
    }
    return open_or_create(store, read_manifest(store), Manifest(**values))


def test_the_same_input_gives_the_plan_back(store: Store, corpus: Path) -> None:
    plan = plan_of(corpus, shard_rows=2)
    manifest = _bound(store, plan)
    for extend in (False, True):
        assert settle_inputs(store, manifest, plan_of(corpus), extend) == plan


def test_new_files_are_refused_until_they_are_asked_for(store: Store, corpus: Path) -> None:
    before = plan_of(corpus, shard_rows=2)
    manifest = _bound(store, before)
    (corpus / "a.jsonl").write_bytes(jsonl(qa_rows(5)))
    (corpus / "c.jsonl").write_bytes(jsonl(qa_rows(4)))
    now = plan_of(corpus)
    with pytest.raises(ManifestError, match=r"2 new \(a\.jsonl, c\.jsonl\)\. Add --extend"):
        settle_inputs(store, manifest, now, extend=False)
    extended = settle_inputs(store, manifest, now, extend=True)
    assert (extended.files[:2], extended.units[:2], extended.layout) == (before.files, before.units, before.layout)
    assert [(file.name, extended.units[i].file) for i, file in enumerate(extended.files)] == [
        ("b.jsonl", 0),
        ("d.jsonl", 1),
        ("a.jsonl", 2),
        ("c.jsonl", 3),
    ]
    assert [unit.index for unit in extended.units] == [0, 1, 2, 3]
    assert [len(raw.table) for raw in read_all(extended)] == [2, 1, 2, 1, 2, 2, 1, 2, 2]
    # What was added once belongs to the job.
    assert settle_inputs(store, manifest, now, extend=False) == extended == read_plan(store, manifest)
    (corpus / "e.jsonl").write_bytes(jsonl(qa_rows(1)))
    twice = settle_inputs(store, manifest, plan_of(corpus), extend=True)
    assert [file.name for file in twice.files] == ["b.jsonl", "d.jsonl", "a.jsonl", "c.jsonl", "e.jsonl"]
    assert [unit.index for unit in twice.units] == [0, 1, 2, 3, 4]


def test_files_that_are_gone_or_changed_are_refused_in_any_case(store: Store, corpus: Path) -> None:
    manifest = _bound(store, plan_of(corpus))
    (corpus / "b.jsonl").unlink()
    (corpus / "d.jsonl").write_bytes(jsonl(qa_rows(4)))
    for name in "efgh":
        (corpus / f"{name}.jsonl").write_bytes(jsonl(qa_rows(1)))
    for extend in (False, True):
        with pytest.raises(ManifestError) as raised:
            settle_inputs(store, manifest, plan_of(corpus), extend)
        assert "4 new (e.jsonl, f.jsonl, g.jsonl ...), 1 gone (b.jsonl), 1 changed (d.jsonl)" in str(raised.value)
        assert "--overwrite" in str(raised.value)
    assert read_plan(store, manifest) == Plan.from_json(manifest.plan)


def test_overwrite_takes_extensions_along(store: Store, corpus: Path) -> None:
    manifest = _bound(store, plan_of(corpus))
    (corpus / "e.jsonl").write_bytes(jsonl(qa_rows(1)))
    settle_inputs(store, manifest, plan_of(corpus), extend=True)
    assert overwrite(store, PartsFolder(store, manifest.job8, "parquet")) == 2
    assert list(Path(store.root).iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version": 2}', b'{"version": 1, "job": 1}'])
def test_a_damaged_extension(store: Store, corpus: Path, content: bytes) -> None:
    manifest = _bound(store, plan_of(corpus))
    Path(store.path("_manifest-0001.json")).write_bytes(content)
    with pytest.raises(ManifestError, match=r"_manifest-0001\.json: the plan is damaged .*--overwrite"):
        read_plan(store, manifest)


def _file(name: str, url: str, version: str = "1") -> SourceFile:
    return SourceFile(Url(url), name, 10, version, "jsonl", None)


def test_a_known_file_keeps_its_name_when_another_input_has_one_like_it() -> None:
    before = [_file("a.jsonl", "s3://one/a.jsonl")]
    now = [_file("one/a.jsonl", "s3://one/a.jsonl"), _file("two/a.jsonl", "s3://two/a.jsonl")]
    change = InputChange.between(before, now)
    assert change.known == (before[0],)
    assert [file.name for file in change.new] == ["two/a.jsonl"]
    assert (change.gone, change.changed) == ((), ())


def test_a_corpus_that_was_moved_is_known_by_its_names() -> None:
    before = [_file("a.jsonl", "/old/a.jsonl"), _file("b.jsonl", "/old/b.jsonl")]
    now = [_file("a.jsonl", "/new/a.jsonl"), _file("b.jsonl", "/new/b.jsonl", version="2")]
    change = InputChange.between(before, now)
    assert [str(file.url) for file in change.known] == ["/new/a.jsonl", "/new/b.jsonl"]
    assert (change.new, change.gone, change.changed) == ((), (), ("b.jsonl",))
    assert str(change) == "1 changed (b.jsonl)"


def test_a_new_file_with_a_known_files_name_gets_another() -> None:
    before = [_file("a.jsonl", "/in/a.jsonl")]
    now = [_file("a.jsonl", "/in/a.jsonl"), _file("a.jsonl", "/more/a.jsonl")]
    change = InputChange.between(before, now)
    assert [file.name for file in change.new] == ["/more/a.jsonl"]
