"""What a job with large columns holds at a time: a shard of it, however many there are."""

import ctypes
import gc
import resource
from pathlib import Path

import pyarrow as pa
import pytest

from actors.engine.inference_task import Wanted
from actors.models.hub import fingerprint
from actors.models.loading import load_spec
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, TokenVectorParameters
from pipelines.output.parts import Committed
from pipelines.output.sinks.folder import PartsFolder
from pipelines.schemas import output_schema
from pipelines.stages.model.runner import OwnModel
from pipelines.stages.model.stage import ModelStage
from pipelines.stages.pending_units import PendingUnit
from pipelines.stages.prepare import PrepareStage
from pipelines.stages.read import ReadStage
from pipelines.stages.write import WriteStage
from pipelines.storage.filesystem import resolve
from tests.actors.helpers import GOLDEN
from tests.pipelines.helpers import plan_of
from tests.pipelines.jobs import write_jsonl

MODEL = GOLDEN / "models" / "bert"
WANTED = Wanted(
    embedding=EmbeddingParameters(), embeddings=False, token_texts=True, token_vectors=TokenVectorParameters()
)
TEXT = "Agnes Bell lit the lamp in 1837 and kept it for forty years; then Ada took the goats away. " * 8


def _resident() -> int:
    """Bytes of this process, without what the allocators keep of memory that is free."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.more
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Ten shards of some 8 MB of vectors, one after the other through the stages of a worker."""
    rows = [{"id": str(number), "text": f"{number} {TEXT}"} for number in range(10 * 200)]
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", rows), "embed", shard_rows=200)
    spec, schema = load_spec(MODEL), output_schema(plan.layout.carry, WANTED, 32)
    prepare = PrepareStage(plan.layout, spec, None, WANTED.embedding, keep_texts=WANTED.needs_texts)
    parameters = ModelParameters(name=str(MODEL), device="cpu", threads=1)
    model = ModelStage(OwnModel(parameters, BatchingParameters(), WANTED, fingerprint(MODEL, "torch")))
    write = WriteStage(PartsFolder(resolve(str(tmp_path / "out")), "0123abcd", "parquet"), schema, {})
    held, sizes = list[int](), list[int]()
    pending = PendingUnit.left(plan, Committed({}, {}, ()))
    for raw in ReadStage(plan.layout, {})(PendingUnit.to_table(pending)):
        computed = model(prepare(raw))
        sizes.append(computed.nbytes)
        receipt = write(computed).to_pylist()[0]
        assert (receipt["error"], receipt["rows"]) == ("", 200)
        held.append(_resident())
    assert len(held) == 10
    assert min(sizes) > 6 << 20
    assert max(held[5:]) < max(held[:5]) + 2 * max(sizes), held
