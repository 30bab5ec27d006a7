from typing import Any

import numpy as np
import pytest

from actors.engine.cost_model import PassShape
from actors.engine.passes import Pass
from pipelines.bench.workers.engine import EngineInProcess, PassLog
from tests.pipelines.bench.setups import setup_of

ROWS = {
    "question": ["Who waits by the mill?", "When did Bo grind the oats?", "Who?"],
    "context": ["Ada waits by the mill.", "Bo ground the oats on Monday. " * 4, "Ada"],
}


@pytest.fixture(scope="module")
def engine() -> EngineInProcess:
    return EngineInProcess(setup_of("answer", runtime="torch", precision="exact"))


def test_what_an_engine_has_learnt_changes_no_answer(engine: EngineInProcess) -> None:
    fresh = engine.answer(ROWS["question"], ROWS["context"], {"fresh": True})
    assert engine.seconds
    assert engine.answer(ROWS["question"], ROWS["context"], {}) == fresh
    assert all(0 <= start < end <= len(text) for (start, end), text in zip(fresh, ROWS["context"], strict=True))
    assert engine.precision == "float32"


def test_rows_that_cannot_be_cut_are_left_out_and_the_rest_is_counted(engine: EngineInProcess) -> None:
    rows = {"question": [*ROWS["question"], "Who?"], "context": [*ROWS["context"], " "]}
    assert engine.usable(rows) == [0, 1, 2]
    size = engine.size(ROWS)
    assert size["windows"] == 3
    assert size["flops"] > size["tokens"] > 30


def test_curves_are_of_all_rows(engine: EngineInProcess) -> None:
    assert len(engine.at_sizes(ROWS, [1, 2, 3])) == 3
    chosen = engine.at_its_choice(ROWS)
    assert 1 <= chosen["windows"] <= 3
    passes = engine.passes({name: texts * 100 for name, texts in ROWS.items()})
    assert passes
    assert all(done["predicted"] > 0 and done["seconds"] > 0 for done in passes)


def test_a_prediction_is_of_passes_before() -> None:
    log, size = PassLog(), PassShape.padded(4, 100)
    for seconds in (9.0, 1.0, 1.0, 2.0):
        log(Pass(False, size, 400, seconds, 0.0))
    # The first pays for warming up and the second has nothing before it.
    assert [(done.predicted, done.seconds) for done in log.passes] == [(1.0, 1.0), (1.0, 2.0)]


def test_embeddings_are_of_length_one() -> None:
    engine = EngineInProcess(setup_of("embed", runtime="torch", precision="exact"))
    vectors: Any = engine.embed(ROWS["context"], {"fresh": True})
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
