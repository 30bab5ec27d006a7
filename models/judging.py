"""What the model that ships is judged by: answers, abstaining, and how its embeddings stand to the base's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actors.errors import ModelError
from actors.models.loading import load_engine
from actors.parameters import BatchingParameters, ModelParameters, QAParameters
from actors.tokenization.preprocess import prepare_pairs
from models.compare_embeddings import Closeness, compare, embed
from pipelines.evaluation.evaluator import ABSTAIN_ABOVE, PREDICTION_SCHEMA, Score, evaluate_predictions

_QA = QAParameters(max_seq_len=320, doc_stride=64, max_answer_len=30, null_score=True)


@dataclass(frozen=True)
class Reading:
    """How well a model reads some rows."""

    answered: dict[str, Score]
    """By source, of the answerable rows of each: the model must answer."""
    everything: Score
    """Of all answerable rows."""
    abstains: float
    """Percent of the unanswerable rows on which the model abstains at the usual threshold; NaN where there are none."""
    keeps_answering: float
    """Percent of the answerable rows on which it does not abstain there."""


def read(model: Path, examples: pa.Table) -> Reading:
    """Judges a model folder on EXAMPLE_SCHEMA, without a cluster; the device is a GPU where there is one."""
    predictions = _predict(model, examples)
    scores = evaluate_predictions(examples, predictions)
    if scores.abstaining is None:
        raise ModelError(f"{model}: it does not say how probable it is that there is no answer")
    answerable = scores.rows["em"].is_valid()
    sources = examples["source"].fill_null("")
    answered = {
        str(source): _score(scores.rows.filter(pc.and_(answerable, pc.equal(sources, source))))
        for source in pc.unique(sources.filter(answerable)).to_pylist()
    }
    answers = pc.less_equal(predictions["no_answer"].filter(answerable), ABSTAIN_ABOVE)
    keeps = 100.0 * float(np.mean(answers.to_numpy())) if len(answers) else float("nan")
    return Reading(answered, scores.answerable, scores.abstaining.unanswerable.em, keeps)


def closeness(model: Path, base: Path, texts: pa.StringArray) -> Closeness:
    """How close the embeddings of texts are to the base's; texts that one window does not hold are left out."""
    return compare(embed(base, texts), embed(model, texts))


def _predict(model: Path, examples: pa.Table) -> pa.Table:
    """PREDICTION_SCHEMA for all rows; nothing, and abstaining, where a row cannot be read."""
    engine = load_engine(model, ModelParameters(), BatchingParameters(), with_qa_head=True)
    columns = (examples[name].combine_chunks() for name in ("question", "context"))
    prepared, rejected = prepare_pairs(engine.spec, _QA, *columns)
    answers = engine.answer(prepared, _QA).answers
    if answers is None:
        raise ModelError(f"{model} gave no answers")
    kept = np.delete(np.arange(len(examples)), rejected.rows)
    given = np.diff(answers.offsets) > 0
    texts = np.full(len(examples), None, dtype=object)
    texts[kept[given]] = answers.text.take(pa.array(answers.offsets[:-1][given])).to_pylist()
    no_answer = np.ones(len(examples))
    score = np.zeros(len(kept))
    score[given] = answers.score[answers.offsets[:-1][given]]
    no_answer[kept] = answers.null_score / np.maximum(answers.null_score + score, np.finfo(np.float64).tiny)
    return pa.table([pa.array(texts, pa.string()), pa.array(no_answer)], schema=PREDICTION_SCHEMA)


def _score(rows: pa.Table) -> Score:
    return Score.of(*(rows[name].to_numpy() for name in ("em", "f1")))
