"""Answers of a model that is in training, with its current weights."""

import copy

import numpy as np
import pyarrow as pa
from torch import distributed
from transformers import PreTrainedModel

from actors.backends.pytorch.torch_backend import TorchBackend
from actors.engine.engine import Engine
from actors.errors import ModelError
from actors.parameters import BatchingParameters, ModelParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import prepare_pairs


def predict_together(
    model: PreTrainedModel, spec: EncoderSpec, qa: QAParameters, questions: pa.StringArray, contexts: pa.StringArray
) -> pa.StringArray:
    """`predict_answers` by all workers of a run, each of which must call it with the same rows and gets all answers.

    One worker that predicted alone would have the others wait for it in the next step, and no longer than their group
    of processes waits for anybody.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return predict_answers(model, spec, qa, questions, contexts)
    rank, workers = distributed.get_rank(), distributed.get_world_size()
    mine = pa.array(np.arange(rank, len(questions), workers))
    found = predict_answers(model, spec, qa, questions.take(mine), contexts.take(mine)).to_pylist()
    shares: list[list[str]] = [[] for _ in range(workers)]
    distributed.all_gather_object(shares, found)
    answers = np.empty(len(questions), dtype=object)
    for number, share in enumerate(shares):
        answers[number::workers] = share
    return pa.array(answers, type=pa.string())


def predict_answers(
    model: PreTrainedModel, spec: EncoderSpec, qa: QAParameters, questions: pa.StringArray, contexts: pa.StringArray
) -> pa.StringArray:
    """[R] best answer of every row, without abstaining; empty where the row cannot be tokenised or has no answer."""
    prepared, rejected = prepare_pairs(spec, qa, questions, contexts)
    chosen = qa.model_copy(update={"top_k": 1, "handle_impossible_answer": False})
    # A copy, because the backend adds a hook to its model and changes its precision.
    backend = TorchBackend(copy.deepcopy(model), ModelParameters(device=str(next(model.parameters()).device)))
    answers = Engine(backend, spec, BatchingParameters()).answer(prepared, chosen).answers
    if answers is None:
        raise ModelError("the model gave no answers")
    kept = np.delete(np.arange(len(questions)), rejected.rows)
    found = np.full(len(questions), "", dtype=object)
    found[kept[np.diff(answers.offsets) > 0]] = answers.text.fill_null("").to_pylist()
    return pa.array(found, type=pa.string())
