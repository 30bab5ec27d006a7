"""A whole job on Ray, from and to a store where every sixth request fails."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.parameters import QAParameters
from pipelines.output.parts import list_names
from pipelines.storage.filesystem import resolve, write_atomic
from tests.pipelines.fault_proxy import Fault, FaultProxy, proxy_to
from tests.pipelines.helpers import jsonl
from tests.pipelines.jobs import bare_engine, mixed_rows, run_job, same_answer
from tests.pipelines.s3_server import S3Server

pytestmark = pytest.mark.usefixtures("cluster")

FAULTS = {
    Fault.SLOW_DOWN: "GET HEAD PUT",
    Fault.SERVER_ERROR: "GET HEAD PUT",
    Fault.DROPPED: "GET HEAD PUT",
    Fault.HALF_SENT: "GET",
    Fault.LOST_ANSWER: "PUT",
    Fault.CUT_UPLOAD: "PUT",
}


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultProxy]:
    with proxy_to(s3) as proxy:
        yield proxy


@pytest.mark.parametrize("format", ["parquet", pytest.param("jsonl", marks=pytest.mark.more)])
def test_a_job_through_faults(proxy: FaultProxy, untrained_model: Path, format: str) -> None:
    rows = mixed_rows(20)
    calm = proxy.server.options
    source, target = resolve("s3://bucket/in", calm), resolve(f"s3://bucket/{format}", calm)
    write_atomic(source.fs, source.path("a.jsonl"), jsonl(rows[:10]))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows[10:]), sink, row_group_size=5)
    write_atomic(source.fs, source.path("b.parquet"), sink.getvalue().to_pybytes())
    for fault, methods in FAULTS.items():
        proxy.inject(fault, methods, share=0.04)

    options = orjson.dumps(proxy.proxied.options).decode()
    words = (f"corpus.storage={options}", f"output.storage={options}", f"output.format={format}", "corpus.shard_rows=5")
    run_job(["s3://bucket/in"], str(target.url), untrained_model, *words)

    assert proxy.faults > 0
    names = sorted(name for name in list_names(target) if name.startswith("part-"))
    contents = [target.fs.cat_file(target.path(name)) for name in names]
    if format == "parquet":
        found = [row for content in contents for row in pq.read_table(pa.BufferReader(content)).to_pylist()]
    else:
        found = [orjson.loads(line) for content in contents for line in content.splitlines()]
    expected = bare_engine(untrained_model, rows, QAParameters())
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert all(same_answer(row, one["answers"][0]) for row, one in zip(found, expected, strict=True))
    assert "_SUCCESS" in list_names(target)
