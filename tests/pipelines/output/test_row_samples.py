"""Rows for the report: of bounded size, the same every time, and with their answers where they stand."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.output.parts import ShardId
from pipelines.output.row_samples import CANDIDATE_SCHEMA, Sampling, ShardSamples

SHARD = ShardId(3, 7, False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=900)


def _rows(contexts: list[str], question: str = "Who?") -> pa.Table:
    ids = [f"row{number}" for number in range(len(contexts))]
    return pa.table({"id": ids, "question": [question] * len(ids), "context": contexts})


def _answers(spans: list[tuple[int, int] | None], contexts: list[str], scores: list[float]) -> pa.Table:
    texts = [None if span is None else text[slice(*span)] for span, text in zip(spans, contexts, strict=True)]
    starts, ends = ([None if span is None else span[side] for span in spans] for side in (0, 1))
    types = (pa.string(), pa.float64(), pa.int32(), pa.int32())
    columns = [pa.array(values, type) for values, type in zip((texts, scores, starts, ends), types, strict=True)]
    return pa.table(columns, ["answer", "score", "start", "end"])


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, st.integers(0, 900), st.integers(0, 900), st.booleans()), min_size=1, max_size=30))
def test_an_excerpt_is_of_the_passage_and_holds_the_answer(drawn: list[tuple[str, int, int, bool]]) -> None:
    contexts = [text for text, *_ in drawn]
    spans = [None if abstains else (min(a, b), max(a, b)) for _, a, b, abstains in drawn]
    scores = [number / 100 for number in range(len(drawn))]
    candidates = Sampling.of(1).candidates(SHARD, _rows(contexts))
    found = ShardSamples.of(candidates, _answers(spans, contexts, scores), None)
    assert found.looked_at == len(drawn)
    assert len(found.rows) == len({row.id for row in found.rows}) <= 14
    for row in found.rows:
        number = int(str(row.id).removeprefix("row"))
        answer = (row.answer or "").removesuffix("…")
        assert row.before + answer in contexts[number]
        assert (row.answer is None) == (spans[number] is None)
        assert contexts[number].startswith(row.before) or row.starts_earlier
        assert contexts[number].endswith(row.after) or row.goes_on
    answered = [score for score, span in zip(scores, spans, strict=True) if span is not None]
    if answered:
        shown = [row.score for row in found.rows if row.answer is not None]
        assert {min(answered), max(answered)} <= set(shown)
    assert ShardSamples.from_json(found.to_json()) == found


def test_a_long_passage_costs_no_more_than_a_short_one() -> None:
    context = "x y z. " * 1_400_000 + "Ada built it. " + "a b c. " * 1_400_000
    start = context.index("Ada")
    candidates = Sampling.of(1).candidates(SHARD, _rows([context, context, "Short."], question="Who? " * 1000))
    assert len(candidates) == 1, "the first one alone is more than a shard looks at"
    spans: list[tuple[int, int] | None] = [(start, start + 3), (start, start + 3), (0, 5)]
    answers = _answers(spans, [context, context, "Short."], [0.9, 0.8, 0.1])
    [row] = ShardSamples.of(candidates, answers, None).rows
    assert row.answer in ("Ada", "Short")
    assert max(len(row.before), len(row.after)) < 200
    assert len(ShardSamples.of(candidates, answers, None).to_json()) < 2000


def test_a_large_job_gives_no_more_than_a_small_one() -> None:
    rows = _rows(["Ada built it."] * 3)
    sampling = Sampling.of(100_000)
    giving = sum(bool(len(sampling.candidates(ShardId(0, number, False), rows))) for number in range(100_000))
    assert 32 < giving < 128
    assert Sampling.of(1).every == Sampling.of(64).every == 1
    assert Sampling().candidates(SHARD, rows).schema == CANDIDATE_SCHEMA


def test_the_same_rows_every_time() -> None:
    contexts = [f"Ada built {number}." for number in range(200)]
    once, again = (Sampling.of(1).candidates(SHARD, _rows(contexts)) for _ in range(2))
    assert once == again
    assert once["row"].to_pylist() != sorted(once["row"].to_pylist())


def test_texts_have_their_vectors_and_come_once() -> None:
    texts = ["one", "two", "one", "three " * 200]
    rows = pa.table({"id": ["a", "b", "c", "d"], "text": texts})
    candidates = Sampling.of(1).candidates(SHARD, rows)
    assert sorted(candidates["row"].to_pylist()) == [0, 1, 3]
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    column = pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 3)])
    found = {row.id: row for row in ShardSamples.of(candidates, None, column).rows}
    assert {name: row.embedding().tolist() for name, row in found.items()} == {
        "a": [0, 1, 2],
        "b": [3, 4, 5],
        "d": [9, 10, 11],
    }
    assert (len(found["d"].before), found["d"].goes_on, found["a"].goes_on) == (360, True, False)
    assert len(Sampling.of(64).candidates(SHARD, pa.table({"id": list("abcdefgh"), "text": list("abcdefgh")}))) == 4


def test_rows_without_a_vector_are_no_samples() -> None:
    """Of questions without tokens there is none."""
    rows = pa.table({"id": ["a", "b", "c"], "text": ["one", "two", "three"]})
    candidates = Sampling.of(1).candidates(SHARD, rows)
    column = pa.chunked_array([pa.array([[0.0, 1.0], None, [4.0, 1e9]], pa.list_(pa.float32(), 2))])
    found = {row.id: row.embedding().tolist() for row in ShardSamples.of(candidates, None, column).rows}
    assert found == {"a": [0, 1], "c": [4, 65_504]}, "float16 holds no more"
    nothing = pa.chunked_array([pa.nulls(3, pa.list_(pa.float32(), 2))])
    assert ShardSamples.of(candidates, None, nothing).rows == ()


def test_no_rows() -> None:
    nothing = Sampling.of(1).candidates(
        SHARD, _rows([]).cast(pa.schema([(n, pa.string()) for n in ("id", "question", "context")]))
    )
    assert ShardSamples.of(nothing, _answers([], [], []), None).to_json() == ""
    assert ShardSamples.from_json("") == ShardSamples()
