"""What a model in training says as it is now."""

import copy

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from transformers import PreTrainedModel

from actors.backends.torch import TorchBackend
from actors.engine import Engine
from actors.errors import ModelError
from actors.layout import EncoderSpec
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters
from actors.prepare import prepare_pairs
from actors.prepared import Prepared

_WINDOWS = 32


def embed(model: PreTrainedModel, spec: EncoderSpec, prepared: Prepared) -> npt.NDArray[np.float32]:
    """[rows, D] mean-pooled, normalised embeddings of prepared texts, by a model as it is now.

    Of the same bits whenever they are computed, as two runs that should be equal need them.
    """
    # The batcher goes by the clock, and the last bits of a sum by the batch.
    fixed = BatchingParameters(fixed_windows=_WINDOWS)
    embeddings = _engine(model, spec, fixed).embed(prepared, EmbeddingParameters()).embeddings
    if embeddings is None:
        raise ModelError("the model gave no embeddings")
    return embeddings


def answer(
    model: PreTrainedModel, spec: EncoderSpec, qa: QAParameters, questions: pa.StringArray, contexts: pa.StringArray
) -> pa.StringArray:
    """The best answer of every row by a model as it is now, without abstaining; empty where it cannot be asked."""
    prepared, rejected = prepare_pairs(spec, qa, questions, contexts)
    chosen = qa.model_copy(update={"top_k": 1, "handle_impossible_answer": False})
    answers = _engine(model, spec, BatchingParameters()).answer(prepared, chosen).answers
    if answers is None:
        raise ModelError("the model gave no answers")
    kept = np.delete(np.arange(len(questions)), rejected.rows)
    found = np.full(len(questions), "", dtype=object)
    found[kept[np.diff(answers.offsets) > 0]] = answers.text.fill_null("").to_pylist()
    return pa.array(found, type=pa.string())


def _engine(model: PreTrainedModel, spec: EncoderSpec, batching: BatchingParameters) -> Engine:
    # A copy, because the backend puts its hook and precision on what it is given.
    device = str(next(model.parameters()).device)
    return Engine(TorchBackend(copy.deepcopy(model), ModelParameters(device=device)), spec, batching)
