"""Prepared shards in, columns out."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from actors.engine.engine import Engine
from actors.engine.inference_task import Wanted
from actors.engine.output_columns import wanted_columns
from actors.errors import DeadlinePassed, ModelError, QueueFull
from actors.model_actor import ModelActor
from actors.models.hub import fingerprint
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters, SharingParameters
from actors.tokenization.preprocess import prepare_texts
from tests.actors.helpers import GOLDEN, answers_of, prepare, strings

BERT = GOLDEN / "models" / "bert"
MODEL = ModelParameters(name=str(BERT), device="cpu", threads=1)
PAIRS = [
    ("Who lit the lamp?", "The head keeper, Agnes Bell, lit the lamp in 1837."),
    ("How many goats?", "Ada keeps three goats in Brindle."),
    ("What?", "x"),
]
ANSWER = {"answer": pa.string(), "score": pa.float64(), "start": pa.int32(), "end": pa.int32()}

Process = Callable[[Wanted, int], pa.Table]


@pytest.fixture(scope="module")
def process(engines: dict[str, Engine]) -> Process:
    """Runs a task over the first rows of `PAIRS`."""

    def run(task: Wanted, rows: int) -> pa.Table:
        actor = ModelActor(MODEL, BatchingParameters(), with_qa_head=task.qa is not None)
        spec = engines["bert"].spec
        if task.qa is not None:
            prepared, _ = prepare(spec, task.qa, PAIRS[:rows])
        else:
            assert task.embedding is not None
            prepared, _ = prepare_texts(spec, task.embedding, strings([c for _, c in PAIRS[:rows]]))
        table, stats = actor.process(prepared.to_ipc(), task)
        assert stats.total.windows == rows
        return table

    return run


def _types(table: pa.Table) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in table.schema}


@pytest.mark.parametrize("rows", [3, 0])
def test_one_answer_a_row_is_four_columns(process: Process, engines: dict[str, Engine], rows: int) -> None:
    qa = QAParameters()
    table = process(Wanted(qa, None), rows)
    assert _types(table) == ANSWER
    assert table.num_rows == rows
    answers = engines["bert"].answer(prepare(engines["bert"].spec, qa, PAIRS)[0], qa).answers
    assert answers is not None
    expected = [a for (a,) in answers_of(answers)][:rows]
    assert table["answer"].to_pylist() == [a.text for a in expected]
    assert table["start"].to_pylist() == [a.start for a in expected]
    assert table["end"].to_pylist() == [a.end for a in expected]
    assert table["score"].to_pylist() == pytest.approx([a.score for a in expected], abs=1e-5)


@pytest.mark.parametrize("rows", [3, 0])
def test_several_answers_a_row_are_a_list_of_structs(process: Process, rows: int) -> None:
    table = process(Wanted(QAParameters(top_k=3), None), rows)
    assert table.schema.names == ["answers"]
    assert table.num_rows == rows
    kind = table.schema.field("answers").type
    assert pa.types.is_list(kind)
    assert {field.name: field.type for field in kind.value_type} == ANSWER
    for (_, context), answers in zip(PAIRS, table["answers"].to_pylist(), strict=False):
        assert 1 <= len(answers) <= 3
        assert [context[a["start"] : a["end"]] for a in answers] == [a["answer"] for a in answers]
        assert [a["score"] for a in answers] == sorted((a["score"] for a in answers), reverse=True)


def test_abstaining_is_null_with_a_score(process: Process) -> None:
    rows = process(Wanted(QAParameters(top_k=30, handle_impossible_answer=True, max_answer_len=1), None), 3)
    for answers in rows["answers"].to_pylist():
        (nothing,) = [a for a in answers if a["answer"] is None]
        assert (nothing["start"], nothing["end"]) == (None, None)
        assert 0 < nothing["score"] < 1


@pytest.mark.parametrize("top_k", [1, 30])
def test_the_null_score_is_what_abstaining_would_score(process: Process, top_k: int) -> None:
    qa = QAParameters(top_k=30, handle_impossible_answer=True, max_answer_len=1)
    found = process(Wanted(qa, None), 3)["answers"].to_pylist()
    listed = [[a["score"] for a in row if a["answer"] is None] for row in found]
    table = process(Wanted(QAParameters(top_k=top_k, null_score=True), None), 3)
    assert table.schema.names == [*(ANSWER if top_k == 1 else ["answers"]), "null_score"]
    assert [[score] for score in table["null_score"].to_pylist()] == [pytest.approx(row, abs=1e-6) for row in listed]


@pytest.mark.parametrize("rows", [3, 0])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_embeddings_are_lists_of_fixed_size(process: Process, rows: int, dtype: str) -> None:
    table = process(Wanted(None, EmbeddingParameters.model_validate({"dtype": dtype})), rows)
    value = {"float32": pa.float32(), "float16": pa.float16()}[dtype]
    assert _types(table) == {"embedding": pa.list_(value, 32)}
    assert table.num_rows == rows
    for vector in table["embedding"].to_pylist():
        assert np.linalg.norm(np.array(vector, dtype=np.float64)) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("rows", [3, 0])
@pytest.mark.parametrize("top_k", [1, 2])
def test_both_come_from_one_task(process: Process, rows: int, top_k: int) -> None:
    table = process(Wanted(QAParameters(top_k=top_k), EmbeddingParameters()), rows)
    assert table.schema.names == [*(ANSWER if top_k == 1 else ["answers"]), "embedding"]
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 32)
    assert table.num_rows == rows


def test_full_tables_and_empty_ones_have_the_types_that_the_columns_declare(process: Process) -> None:
    for task in (
        Wanted(QAParameters(), None),
        Wanted(QAParameters(handle_impossible_answer=True), EmbeddingParameters()),
        Wanted(QAParameters(top_k=5, null_score=True), None),
        Wanted(None, EmbeddingParameters(pooling="cls", dtype="float16")),
    ):
        declared = pa.schema([(column.name, column.type(task, 32)) for column in wanted_columns(task)])
        assert process(task, 0).schema.equals(declared)
        assert process(task, 2).schema.equals(declared)


def test_a_task_that_asks_for_nothing_is_an_error(engines: dict[str, Engine]) -> None:
    prepared, _ = prepare(engines["bert"].spec, QAParameters(), PAIRS)
    with pytest.raises(ValueError, match="asks for nothing that has a column"):
        ModelActor(MODEL, BatchingParameters(), with_qa_head=True).process(prepared.to_ipc(), Wanted(None, None))


def test_the_model_must_be_the_one_that_was_planned_with() -> None:
    ModelActor(MODEL, BatchingParameters(), with_qa_head=True, expected=fingerprint(BERT, "torch"))
    with pytest.raises(ModelError, match=r"differs between machines.*planned with 000000000000;"):
        ModelActor(MODEL, BatchingParameters(), with_qa_head=True, expected="0" * 64)


QA = QAParameters()


@pytest.fixture
def shared() -> ModelActor:
    return ModelActor(MODEL, BatchingParameters(), with_qa_head=True, sharing=SharingParameters(queue_requests=2))


def test_a_request_gets_what_a_shard_gets(shared: ModelActor) -> None:
    prepared, _ = prepare(shared.engine.spec, QA, PAIRS)
    answers = shared.ask(prepared, Wanted(QA)).future.result().answers
    assert answers is not None
    table, _ = shared.process(prepared.to_ipc(), Wanted(QA, None))
    assert table["answer"].to_pylist() == [a.text for (a,) in answers_of(answers)]
    assert table["score"].to_pylist() == pytest.approx(answers.score.tolist(), abs=1e-5)


def test_parts_of_a_shard_make_up_the_shard(shared: ModelActor) -> None:
    task = Wanted(QA, EmbeddingParameters())
    ipc = prepare(shared.engine.spec, QA, PAIRS)[0].to_ipc()
    whole, _ = shared.process(ipc, task)
    parts = [shared.process_part(ipc, task, np.array(owners, np.int32))[0] for owners in ([2, 0], [], [1])]
    assert [part.num_rows for part in parts] == [2, 0, 1]
    joined = pa.concat_tables(parts).take([1, 2, 0])
    for name in ("answer", "start", "end"):
        assert joined[name].to_pylist() == whole[name].to_pylist()
    assert joined["score"].to_pylist() == pytest.approx(whole["score"].to_pylist(), abs=1e-5)
    np.testing.assert_allclose(joined["embedding"].to_pylist(), whole["embedding"].to_pylist(), atol=1e-5)


def test_a_request_may_name_its_time_and_finds_the_queue_no_longer_than_its_limit(shared: ModelActor) -> None:
    prepared, _ = prepare(shared.engine.spec, QA, PAIRS)
    with shared.engine.device_lock.offline(0.0):
        late, waits = shared.ask(prepared, Wanted(QA), seconds=0.0), shared.ask(prepared, Wanted(QA), seconds=1e9)
        with pytest.raises(QueueFull, match="2 requests"):
            shared.ask(prepared, Wanted(QA))
    assert isinstance(late.future.exception(), DeadlinePassed)
    assert waits.future.result().answers is not None


def test_an_actor_of_a_job_takes_no_requests(engines: dict[str, Engine]) -> None:
    prepared, _ = prepare(engines["bert"].spec, QA, PAIRS)
    with pytest.raises(ValueError, match="takes shards only"):
        ModelActor(MODEL, BatchingParameters(), with_qa_head=True).ask(prepared, Wanted(QA))
