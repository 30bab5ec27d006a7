"""The rows that the report opens with."""

import base64
from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipelines.output.row_samples import RowSample, ShardSamples
from pipelines.reporting.row_examples import answers, neighbours, samples_of


def _answer(number: int, score: float, by_chance: bool = True, answer: str | None = "Ada") -> RowSample:
    return RowSample(f"row{number}", "Who?", f"Text {number} of ", answer, ".", False, False, score, by_chance)


def _text(name: str, *vector: float) -> RowSample:
    data = base64.b64encode(np.array(vector, np.float16).tobytes()).decode()
    return replace(_answer(0, 0.0), id=name, question=None, before=f"Text {name}", answer=None, vector=data)


def test_the_best_the_worst_and_random_ones_without_a_row_twice() -> None:
    rows = [_answer(number, number / 100, by_chance=number % 3 == 0) for number in range(90)]
    found = answers(ShardSamples(5000, (*rows, _answer(90, 0.99, answer=None))))
    assert found is not None
    assert found.looked_at == 5000
    groups = {group.name: [row.id for row in group.rows] for group in found.groups}
    assert groups["best"] == ["row89", "row88", "row87", "row86"], "a row without an answer is not the best one"
    assert groups["worst"] == ["row0", "row1", "row2", "row3"]
    assert len(groups["random"]) == 6
    assert not set(groups["random"]) & {*groups["best"], *groups["worst"]}
    again = answers(ShardSamples(5000, (_answer(90, 0.99, answer=None), *rows[::-1])))
    assert again is not None
    assert again.groups == found.groups, "whichever shard's receipt is read first"


def test_few_answers_have_no_best() -> None:
    found = answers(ShardSamples(2, (_answer(1, 0.1), _answer(2, 0.9))))
    assert found is not None
    assert [(group.name, len(group.rows)) for group in found.groups] == [("all", 2)]
    assert answers(ShardSamples()) is None


def test_neighbours_are_the_nearest_of_the_sample() -> None:
    rows = [_text("a", 1, 0), _text("b", 0.9, 0.1), _text("c", 0, 1), _text("zero", 0, 0), _text("a", 1, 0)]
    found = neighbours(ShardSamples(5, tuple(rows)))
    assert found is not None
    assert found.looked_at == 4, "a text that comes again is one text"
    [pair, *_] = found.closest
    assert {pair.id, pair.nearest[0].id} == {"a", "b"}
    assert pair.nearest[0].similarity == 0.994
    assert all(near.id != around.id for around in (*found.closest, *found.random) for near in around.nearest)
    assert [len(around.nearest) for around in found.closest] == [3] * len(found.closest)


def test_two_texts_have_one_neighbour_each_and_one_has_none() -> None:
    two = neighbours(ShardSamples(2, (_text("a", 1, 0), _text("b", 0, 1))))
    assert two is not None
    assert [[near.id for near in around.nearest] for around in (*two.closest, *two.random)] == [["b"], ["a"]][:2]
    assert neighbours(ShardSamples(1, (_text("a", 1, 0),))) is None


def test_receipts_of_an_older_version_hold_none() -> None:
    receipts = pa.table({"samples": pa.array([None, "", ShardSamples(3, (_answer(1, 0.5),)).to_json()])})
    assert samples_of(receipts) == ShardSamples(3, (_answer(1, 0.5),))
