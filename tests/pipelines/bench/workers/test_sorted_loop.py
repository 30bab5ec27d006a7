"""What is written by hand gives what the engine gives, so that both do the same work.

The loop over ONNX Runtime, whose export takes long, is in a whole run of `tests/pipelines/bench/test_command.py`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.bench.generated import questions_and_passages, words_of
from pipelines.bench.workers.engine import EngineInProcess
from pipelines.bench.workers.sorted_loop import SortedLoop
from tests.actors.helpers import GOLDEN
from tests.pipelines.bench.setups import MODEL, setup_of


@pytest.fixture(scope="module")
def rows() -> dict[str, list[str]]:
    table = questions_and_passages(words_of(MODEL), 12)
    # Short enough for several windows a passage, not for dozens.
    contexts = [" ".join(text.split()[:90]) for text in table["context"].to_pylist()]
    return {"question": table["question"].to_pylist(), "context": contexts}


@pytest.mark.parametrize("model", ["distilbert", "bert"])
def test_answers_and_vectors_are_the_engines(rows: dict[str, list[str]], model: str) -> None:
    folder = str(GOLDEN / "models" / model)
    given = {"runtime": "ctranslate2", "precision": "float32", "model": folder}
    own = {"runtime": "torch", "precision": "exact", "model": folder}
    expected = EngineInProcess(setup_of("answer", **own)).answer(rows["question"], rows["context"], {})
    found = SortedLoop(setup_of("answer", **given)).answer(rows["question"], rows["context"], {"windows": 4})
    assert found == expected
    texts = [" ".join(text.split()[:40]) for text in rows["context"]]
    vectors: Any = EngineInProcess(setup_of("embed", **own)).embed(texts, {})
    loop = SortedLoop(setup_of("embed", **given)).embed(texts, {"windows": 5})
    assert np.allclose(vectors, loop, atol=1e-4)


def test_a_model_without_a_tokenizer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="No such file"):
        SortedLoop(setup_of("answer", model=str(tmp_path), runtime="ctranslate2", precision="float32"))
