"""Sizes of columns as they are predicted, against those of the columns themselves."""

from dataclasses import replace

import numpy as np
import pytest

from actors.backends.layer_output import ModelDepth
from actors.engine.column_sizes import WindowShape, check_attention, row_bytes
from actors.engine.inference_task import Wanted
from actors.engine.output_columns import to_table, wanted_columns
from actors.errors import ModelError
from actors.models.loading import load_engine
from actors.parameters import (
    AttentionParameters,
    BatchingParameters,
    EmbeddingParameters,
    ModelParameters,
    TokenVectorParameters,
)
from actors.tokenization.preprocess import prepare_texts
from tests.actors.helpers import GOLDEN, strings

EMBEDDING = EmbeddingParameters(max_seq_len=48, doc_stride=8)
ALONE = Wanted(embedding=EMBEDDING, embeddings=False)
TEXT = "Agnes Bell lit the lamp in 1837 and kept it for forty years; then Ada took the goats away. " * 4


@pytest.mark.parametrize(
    "wanted",
    [
        replace(ALONE, token_texts=True),
        replace(ALONE, token_vectors=TokenVectorParameters()),
        replace(ALONE, token_vectors=TokenVectorParameters(dtype="int8")),
        replace(ALONE, layer_vectors=True),
        replace(ALONE, attention=AttentionParameters(top=4)),
        replace(ALONE, attention=AttentionParameters(top=None, layers=(1,))),
    ],
)
def test_what_is_predicted_is_about_what_comes(wanted: Wanted) -> None:
    engine = load_engine(GOLDEN / "models" / "bert", ModelParameters(device="cpu"), BatchingParameters(), True)
    texts = [TEXT + str(number) for number in range(20)]
    prepared, _ = prepare_texts(engine.spec, EMBEDDING, strings(texts), keep_texts=True)
    table = to_table(wanted_columns(wanted), engine.finish(engine.begin(prepared, wanted)), wanted)
    tokens = float(np.mean(prepared.passage.lengths))
    predicted = row_bytes(wanted, engine.hidden_size, ModelDepth(2, 2), WindowShape(48, 8), tokens)
    assert 0.7 < predicted * len(texts) / table.nbytes < 1.4


def test_the_usual_columns_count_nothing() -> None:
    """They are what the size of shards was chosen for before there were others, and jobs of theirs keep their plan."""
    assert row_bytes(Wanted(embedding=EMBEDDING), 384, None, WindowShape(384, 128), 1000.0) == 0


def test_windows_longer_than_their_targets_can_say() -> None:
    wanted = Wanted(embedding=EMBEDDING, attention=AttentionParameters())
    check_attention(wanted, ModelDepth(12, 12), 32_767)
    with pytest.raises(ModelError, match=r"32,767 tokens at most, and these have 40,000; lower max_seq_len"):
        check_attention(wanted, ModelDepth(12, 12), 40_000)
