"""How close the embeddings of a model are to those of another: cosines, and whether neighbours stay neighbours.

python models/compare_embeddings.py build/base models/minilm-qa qa-dev.jsonl.gz
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actors.models.loading import load_engine
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters
from actors.tokenization.preprocess import prepare_texts
from pipelines.evaluation.squad import read_examples

MAX_TOKENS = 256
NEIGHBOURS = 10

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Closeness:
    """How close two models' embeddings of N texts are."""

    mean: float
    """Mean cosine of a text's two embeddings."""
    fifth_percentile: float
    recall: float
    """Share of the NEIGHBOURS texts nearest to a text that are the same with both models, mean over texts. Where there
    are fewer other texts, all of them count."""


def main(original: Path, model: Path, data: str) -> None:
    """Compares over the distinct passages of SQuAD-like data that have at most MAX_TOKENS tokens."""
    passages = read_examples([data], {}).examples["context"].combine_chunks().unique()
    found = compare(embed(original, passages), embed(model, passages))
    print(
        f"{len(passages):,} passages: cosine mean {found.mean:.4f}, 5th percentile {found.fifth_percentile:.4f}; "
        f"recall@{NEIGHBOURS} {found.recall:.3f}"
    )


def embed(folder: Path, texts: pa.StringArray) -> Floats:
    """[N, D] mean-pooled embeddings of length 1 of the texts of at most MAX_TOKENS tokens."""
    engine = load_engine(folder, ModelParameters(), BatchingParameters(), with_qa_head=False)
    prepared, _ = prepare_texts(engine.spec, EmbeddingParameters(max_seq_len=MAX_TOKENS), texts)
    short = np.bincount(prepared.windows.owner)[prepared.row_owner] == 1
    embeddings = engine.embed(prepared, EmbeddingParameters()).embeddings
    if embeddings is None:
        raise ValueError(f"{folder} gave no embeddings")
    kept: Floats = embeddings[short]
    return kept


def compare(ours: Floats, theirs: Floats) -> Closeness:
    """Compares two [N, D] arrays of embeddings of length 1, of the same texts in the same order.

    Raises:
        ValueError: there are fewer than two texts.
    """
    if len(ours) < 2:
        raise ValueError(
            f"two texts of at most {MAX_TOKENS} tokens or more are needed to compare them, not {len(ours)}"
        )
    cosines = (ours * theirs).sum(axis=1)
    count = min(NEIGHBOURS, len(ours) - 1)
    near, also_near = _nearest(ours, count), _nearest(theirs, count)
    shared = [len(np.intersect1d(*pair)) for pair in zip(near, also_near, strict=True)]
    return Closeness(float(cosines.mean()), float(np.percentile(cosines, 5)), float(np.mean(shared)) / count)


def _nearest(vectors: Floats, count: int) -> npt.NDArray[np.int64]:
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -np.inf)
    return np.argpartition(-similar, count - 1, axis=1)[:, :count]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
