"""How far two results agree."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.output.agreement import RowAgreement


def _answers(*rows: tuple[str | None, float, int | None, int | None]) -> pa.Table:
    types = (("answer", pa.string()), ("score", pa.float64()), ("start", pa.int32()), ("end", pa.int32()))
    columns = zip(*rows, strict=True)
    return pa.table({name: pa.array(values, kind) for (name, kind), values in zip(types, columns, strict=True)})


def _vectors(rows: list[list[float]], kind: str) -> pa.Table:
    flat = pa.array(np.array(rows, dtype=kind).reshape(-1))
    return pa.table({"embedding": pa.FixedSizeListArray.from_arrays(flat, 2)})


HALF = _answers(("Ada", 0.5, 0, 3), ("Ada", 0.5, 0, 3), (None, 0.9, None, None), (None, 0.4, None, None))
EXACT = _answers(("Ada", 0.51, 0, 3), ("Ada", 0.5, 9, 12), (None, 0.8, None, None), ("Bo", 0.4, 4, 6))


def test_spans_are_equal_where_text_and_place_are_and_where_both_abstain() -> None:
    found = RowAgreement.between(HALF, EXACT)
    assert found.rows == 4
    assert found.equal_spans == (True, False, True, False)
    assert found.score_differences == pytest.approx((0.01, 0, 0.1, 0))
    assert found.cosines == ()


def test_of_several_answers_the_best_counts() -> None:
    def listed(table: pa.Table) -> pa.Table:
        best = table.to_struct_array().combine_chunks()
        doubled = pa.concat_arrays([best.slice(i // 2, 1) for i in range(2 * len(best))])
        return pa.table({"answers": pa.ListArray.from_arrays(list(range(0, 2 * len(best) + 1, 2)), doubled)})

    assert RowAgreement.between(listed(HALF), listed(EXACT)) == RowAgreement.between(HALF, EXACT)


def test_embeddings_by_their_cosine_whatever_type_is_written() -> None:
    found = RowAgreement.between(_vectors([[1, 0], [3, 4]], "float16"), _vectors([[1, 1], [6, 8]], "float32"))
    assert found.cosines == pytest.approx((0.5**0.5, 1.0), abs=1e-6)
    assert (found.rows, found.equal_spans, found.score_differences) == (2, (), ())


def test_both_kinds_beside_each_other() -> None:
    vectors = _vectors([[1, 0]] * 4, "float32")
    found = RowAgreement.between(
        HALF.append_column("embedding", vectors["embedding"]), EXACT.append_column("embedding", vectors["embedding"])
    )
    assert found.equal_spans == (True, False, True, False)
    assert found.cosines == (1.0,) * 4


def test_there_and_back_as_json_and_joined() -> None:
    found = RowAgreement.between(HALF, EXACT)
    assert RowAgreement.from_json(found.to_json()) == found
    assert RowAgreement().to_json() == ""
    assert RowAgreement.from_json("") == RowAgreement() == RowAgreement.joined([])
    twice = RowAgreement.joined([found, RowAgreement(), found])
    assert (twice.rows, twice.equal_spans) == (8, found.equal_spans * 2)


def test_vectors_of_bits_are_compared_by_their_signs() -> None:
    def packed(rows: list[list[int]]) -> pa.Table:
        return pa.table({"embedding_max": pa.array(rows, pa.list_(pa.uint8(), 2))})

    found = RowAgreement.between(packed([[255, 0], [240, 15]]), packed([[255, 0], [255, 15]]))
    assert found.cosines == pytest.approx((1.0, 0.5), abs=1e-6)


def test_rows_without_a_vector_are_left_out() -> None:
    vectors = pa.table({"question_embedding": pa.array([[1.0, 0.0], None], pa.list_(pa.float32(), 2))})
    assert RowAgreement.between(vectors, vectors).cosines == (1.0,)
