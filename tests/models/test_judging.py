"""What is said of a model, held against its answers."""

import pyarrow as pa
import pytest

from actors.backends.pytorch.torch_weights import load_model
from actors.models.loading import load_spec
from actors.parameters import QAParameters
from actors.training.predict import predict_answers
from models.judging import closeness, read
from pipelines.evaluation.evaluator import evaluate_predictions, without_abstaining
from pipelines.evaluation.squad import EXAMPLE_SCHEMA
from tests.actors.helpers import GOLDEN, strings
from tests.pipelines.jobs import mixed_rows

MODEL = GOLDEN / "models" / "distilbert"
ROWS = [
    {
        **row,
        "answer_texts": row["answers"]["text"] if number % 3 else [],
        "answer_starts": row["answers"]["answer_start"] if number % 3 else [],
        "source": "few" if number % 3 == 1 else "many",
    }
    for number, row in enumerate(mixed_rows(18))
]
EXAMPLES = pa.Table.from_pylist(ROWS, schema=EXAMPLE_SCHEMA)


def test_a_reading_is_that_of_the_model_s_answers() -> None:
    found = read(MODEL, EXAMPLES)
    qa = QAParameters(max_seq_len=320, doc_stride=64, max_answer_len=30)
    columns = (EXAMPLES[name].combine_chunks() for name in ("question", "context"))
    answers = predict_answers(load_model(MODEL, with_qa_head=True), load_spec(MODEL), qa, *columns)
    expected = evaluate_predictions(EXAMPLES, without_abstaining(answers))
    assert found.everything == expected.answerable
    counts = {source: score.rows for source, score in found.answered.items()}
    answered = [str(row["source"]) for row in ROWS if row["answer_texts"]]
    assert counts == {source: answered.count(source) for source in set(answered)}
    total = sum(score.rows * score.f1 for score in found.answered.values())
    assert total / len(answered) == pytest.approx(expected.answerable.f1)
    assert 0 <= found.abstains <= 100
    assert 0 <= found.keeps_answering <= 100


def test_a_model_s_embeddings_are_its_own() -> None:
    texts = strings([str(row["context"])[:150] for row in ROWS])
    assert closeness(MODEL, MODEL, texts).mean == pytest.approx(1.0)
