"""Corpora with lengths like SQuAD's, and a DistilBERT-base-shaped model to run over them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from models.make_untrained import make_tokenizer, make_vocabulary, read_texts
from pipelines.bench.generated import questions_and_passages, texts_of_mixed_length
from pipelines.bench.workers.random_model import write_weights

_SEED = 7
_SAMPLES = Path(__file__).parents[1] / "samples" / "corpus.jsonl"
_GROUP_PASSAGES = 4096
_RARE = 0.06


def write_model(folder: Path, layers: int = 6, dim: int = 768) -> None:
    """A folder with random weights of DistilBERT-base's shape, and the sample corpus's vocabulary."""
    write_weights(folder, layers, dim)
    make_tokenizer(make_vocabulary(read_texts(_SAMPLES))).save_pretrained(folder)


def write_corpus(path: Path, rows: int) -> None:
    """Question and passage pairs: about 12 + 165 tokens on average, with a long tail to 384, in random order."""
    pq.write_table(questions_and_passages(_words(), rows), path)


def pairs_of_length(tokens: int, rows: int) -> tuple[pa.StringArray, pa.StringArray]:
    """Questions and passages, [rows] each, of so many tokens a pair on average, 384 at most, for `write_model`'s model.

    Short ones vary as SQuAD's do; those that are nearly as long as a window vary little.
    """
    rng = np.random.default_rng(_SEED)
    words = np.array(_words(), dtype=object)
    question = np.clip(rng.normal(12, 3, size=rows), 4, 15).astype(int)
    rest, shape = tokens - 15, 5.0 if tokens < 250 else 200.0
    passage = np.clip(rng.gamma(shape, rest / shape, size=rows), 8, 366).astype(int)
    return pa.array(_joined(rng, words, question)), pa.array(_joined(rng, words, passage))


def _joined(rng: np.random.Generator, words: npt.NDArray[np.object_], lengths: npt.NDArray[np.int_]) -> list[str]:
    drawn, stops = words[rng.integers(len(words), size=int(lengths.sum()))].tolist(), np.cumsum(lengths).tolist()
    return [" ".join(drawn[stop - length : stop]) for stop, length in zip(stops, lengths.tolist(), strict=True)]


def write_texts(path: Path, rows: int) -> None:
    """Texts of mixed length, titles and paragraphs: 60 words in the middle, 3 to 360, in random order."""
    pq.write_table(texts_of_mixed_length(_words(), rows), path)


def _words() -> list[str]:
    return [word for word in make_vocabulary(read_texts(_SAMPLES)) if word.isalpha() and len(word) > 1]


def write_questions(path: Path, rows: int, each: int = 5, group_passages: int = _GROUP_PASSAGES) -> None:
    """`each` questions to a passage, one after another: about 12 + 150 tokens, in the sample corpus's own words and
    punctuation at their own frequencies, with words that come once (two of its words made one), as names do: some
    13,000 distinct forms in the 120,000 words of 4,096 rows, as in prose. Memory: a row group of `group_passages`.
    """
    rng = np.random.default_rng(_SEED)
    words = np.array([word for text in read_texts(_SAMPLES) for word in text.split()], dtype=object)
    schema = pa.schema([("id", pa.string()), ("question", pa.string()), ("context", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, group_passages * each):
            count = min(group_passages * each, rows - first)
            passages = -(-count // each)
            contexts = list(_texts(rng, words, np.clip(rng.gamma(3.2, 34.0, size=passages), 15, 280)))
            questions = list(_texts(rng, words, np.clip(rng.normal(8.5, 3, size=count), 4, 20)))
            ids = [f"row-{i}" for i in range(first, first + count)]
            context = pa.array(contexts).take(pa.array(np.arange(count) // each))
            writer.write_table(pa.table([ids, questions, context], schema=schema))


def _texts(rng: np.random.Generator, words: npt.NDArray[np.object_], lengths: npt.NDArray[np.float64]) -> Iterator[str]:
    stops = np.cumsum(lengths.astype(int))
    drawn = words[rng.integers(len(words), size=int(stops[-1]))]
    rare = np.flatnonzero(rng.random(len(drawn)) < _RARE)
    drawn[rare] += words[rng.integers(len(words), size=len(rare))]
    start = 0
    for stop in stops.tolist():
        yield " ".join(drawn[start:stop].tolist())
        start = stop
