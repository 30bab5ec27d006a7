"""Whole jobs on Azure Blob Storage and Google Cloud Storage: listed, read, committed, killed, gone on with."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.parameters import QAParameters
from pipelines.output.parts import list_names
from pipelines.storage.filesystem import Store, create_exclusive, read_bytes, resolve, write_atomic
from tests.pipelines.cloud_servers import CloudServer, serve_azure, serve_google
from tests.pipelines.helpers import jsonl
from tests.pipelines.jobs import bare_engine, mixed_rows, same_answer
from tests.pipelines.processes import Command

pytestmark = [pytest.mark.more, pytest.mark.ray]


@pytest.fixture(params=[("adlfs", serve_azure), ("gcsfs", serve_google)], ids=["azure", "google"])
def server(request: pytest.FixtureRequest) -> Iterator[CloudServer]:
    package, serve = request.param
    start: Callable[[], AbstractContextManager[CloudServer]] = serve
    try:
        with pytest.MonkeyPatch.context() as patch:
            # gcsfs reads it when it is imported.
            patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
            pytest.importorskip(package, reason=f"{package} is missing: `make test-more` installs it")
        with start() as running:
            yield running
    except FileNotFoundError as error:
        pytest.skip(str(error))


def _parts(store: Store) -> dict[str, bytes]:
    store.fs.invalidate_cache()
    names = sorted(name for name in list_names(store) if name.startswith("part-"))
    return {name: read_bytes(store.fs, store.path(name)) for name in names}


def test_of_two_who_create_one_is_told_so(server: CloudServer) -> None:
    store = resolve(f"{server.url}/one", server.options)
    path = store.path("claim")
    assert create_exclusive(store.fs, path, b"mine")
    assert not create_exclusive(store.fs, path, b"yours")
    assert read_bytes(store.fs, path) == b"mine"
    write_atomic(store.fs, path, b"replaced")
    assert read_bytes(store.fs, path) == b"replaced"


def test_a_job_is_killed_and_goes_on(server: CloudServer, tmp_path: Path, untrained_model: Path) -> None:
    rows = mixed_rows(60)
    source, target = (resolve(f"{server.url}/{name}", server.options) for name in ("in", "out"))
    write_atomic(source.fs, source.path("a.jsonl"), jsonl(rows[:30]))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows[30:]), sink, row_group_size=10)
    write_atomic(source.fs, source.path("deep/b.parquet"), sink.getvalue().to_pybytes())

    options = orjson.dumps(server.options).decode()
    keys = (f"corpus.storage={options}", f"output.storage={options}", "corpus.shard_rows=1", "model.threads=1")
    settings = [word for key in keys for word in ("--set", key)]
    words = ("spanmill", "answer", f"{server.url}/in", f"{server.url}/out", "--model", str(untrained_model), *settings)
    first = Command(words, tmp_path, server.env)
    try:
        first.wait_until(lambda: len(_parts(target)) > 2)
        first.process.kill()
    finally:
        first.clean_up()
    before = _parts(target)
    assert 2 < len(before) < len(rows)

    second = Command(words, tmp_path, server.env)
    try:
        code, out, err = second.end()
    finally:
        second.clean_up()
    assert code == 0, err
    assert "in the whole job" in out
    after = _parts(target)
    assert before.items() <= after.items(), "what was committed is computed again"
    assert "_SUCCESS" in list_names(target)
    found = [row for part in after.values() for row in pq.read_table(pa.BufferReader(part)).to_pylist()]
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    expected = bare_engine(untrained_model, rows, QAParameters())
    assert all(same_answer(row, one["answers"][0]) for row, one in zip(found, expected, strict=True))
