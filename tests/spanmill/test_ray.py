"""The classes for `map_batches`: as Ray calls them, and once by Ray."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray.data
from ray.data.block import BlockAccessor

import spanmill.ray
from actors.parameters import EmbeddingParameters, QAParameters
from tests.pipelines.jobs import bare_engine, mixed_rows, same_answer, same_vector

pytestmark = pytest.mark.usefixtures("cluster")

ROWS: list[dict[str, Any]] = [
    {"key": str(number), "question": row["question"], "context": row["context"]}
    for number, row in enumerate(mixed_rows(12))
]


def test_answers_are_joined_to_the_rows(untrained_model: Path) -> None:
    table = pa.Table.from_pylist([*ROWS[:3], {"key": "blank", "question": "Who?", "context": None}, *ROWS[3:]])
    mapper = spanmill.ray.Answer(str(untrained_model))
    found = mapper(table).to_pylist()
    assert [row["key"] for row in found] == table["key"].to_pylist()
    assert found.pop(3)["answer"] is None
    expected = bare_engine(untrained_model, ROWS, QAParameters())
    assert all(same_answer(row, one["answers"][0]) for row, one in zip(found, expected, strict=True))
    for batch in (table.to_pandas(), {name: table[name].to_numpy() for name in table.column_names}):
        assert mapper(batch)["answer"] == mapper(table)["answer"]
    with pytest.raises(KeyError, match=r"no column 'question'; they have key"):
        mapper(table.select(["key"]))


def test_results_never_take_the_place_of_columns_of_the_rows(untrained_model: Path) -> None:
    rows = [{**row, "answers": "gold", "score": 7, "embedding": [0.5]} for row in ROWS]
    table = pa.Table.from_pylist(rows)
    several = spanmill.ray.Answer(str(untrained_model), top_k=2)
    with pytest.raises(ValueError, match=r"a column 'answers' already.*\bprefix="):
        several(table)
    with pytest.raises(ValueError, match="a column 'score' already"):
        spanmill.ray.Answer(str(untrained_model))(table)
    with pytest.raises(ValueError, match="a column 'embedding' already"):
        spanmill.ray.Embed(str(untrained_model), text="context")(table)
    found = spanmill.ray.Answer(str(untrained_model), top_k=2, prefix="my_")(table)
    assert found.column_names == [*table.column_names, "my_answers"]
    assert found.select(table.column_names) == table
    assert len(found["my_answers"][0]) == 2


def test_columns_of_tensors_go_through(untrained_model: Path) -> None:
    ragged = np.empty(2, object)
    ragged[:] = [np.zeros((2, 3)), np.ones((1, 3))]
    images = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    batch = {"text": np.array([row["context"] for row in ROWS[:2]]), "image": images, "ragged": ragged, "n": [1, 2]}
    found = BlockAccessor.for_block(spanmill.ray.Embed(str(untrained_model))(batch)).to_batch_format("numpy")
    assert (found["image"] == images).all()
    assert [one.tolist() for one in found["ragged"]] == [one.tolist() for one in ragged]
    assert found["embedding"].shape[0] == 2


def test_what_the_classes_cannot_use_is_named(untrained_model: Path) -> None:
    with pytest.raises(TypeError, match="options: unknown 'gpu'; there are device, dtype, "):
        spanmill.ray.Answer(untrained_model, options={"gpu": 1})
    with pytest.raises(TypeError, match="unknown parameter topk; there are align_to_words, "):
        spanmill.ray.Answer(untrained_model, topk=3)
    with pytest.raises(ValueError, match="'sum' is no pooling; there are mean, cls, max, last"):
        spanmill.ray.Embed(untrained_model, pooling="sum")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="of is for questions and passages"):
        spanmill.ray.Embed(untrained_model, of="question")
    embed = spanmill.ray.Embed(untrained_model)
    with pytest.raises(TypeError, match="the batch is a list; hand this class to Dataset"):
        embed([{"text": "a"}])
    with pytest.raises(TypeError, match="text 0 is of type int"):
        embed({"text": np.array([1])})


def test_a_dataset_of_ray_gets_the_engine_in_one_line(
    untrained_model: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("ray.data"), "propagate", True)
    rows = ray.data.from_items([{"key": row["key"], "body": row["context"]} for row in ROWS])
    arguments = {"model": str(untrained_model), "text": "body", "options": {"threads": 1}}
    found = rows.map_batches(
        spanmill.ray.Embed,
        fn_constructor_kwargs=arguments,
        compute=ray.data.ActorPoolStrategy(size=1),
        batch_size=5,
        batch_format="pyarrow",
    ).take_all()
    assert "deprecated" not in caplog.text
    texts = [{"text": row["context"]} for row in ROWS]
    expected = bare_engine(untrained_model, texts, embedding=EmbeddingParameters())
    by_key = {row["key"]: np.asarray(row["embedding"]).tolist() for row in found}
    assert len(by_key) == len(ROWS)
    for row, one in zip(ROWS, expected, strict=True):
        assert same_vector(by_key[row["key"]], one["embedding"])
