"""The rows of a round, as the engine takes them."""

from pathlib import Path

import pyarrow.parquet as pq

from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import prepare_pairs
from actors.tokenization.tokenized import Tokenized
from benchmarks.offline.limits import QA


def read_pairs(spec: EncoderSpec, corpus: str | Path) -> Tokenized:
    """Windows of the questions and passages of a Parquet file."""
    rows = pq.read_table(corpus)
    return prepare_pairs(spec, QA, rows["question"].combine_chunks(), rows["context"].combine_chunks())[0]
