"""The rows of a training run: those to train on, and those held out for evaluation."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config.training import DataParameters
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.evaluation.squad import read_examples
from pipelines.storage.url import Url

_HASHES = 1 << 32


@dataclass(frozen=True)
class TrainingData:
    """What was read from DATA and from the files that are held out."""

    examples: pa.Table
    """EXAMPLE_SCHEMA; the rows to train on."""
    held_out: pa.Table
    """EXAMPLE_SCHEMA; answerable rows only."""
    files: tuple[SourceFile, ...]
    """The files of DATA."""
    warnings: tuple[str, ...]
    """What was left out of the data, a line of text each."""


def read_training_data(inputs: Sequence[str], parameters: DataParameters) -> TrainingData:
    """Reads DATA, and the held-out files or a share of the passages of DATA.

    A passage is held out with all its questions, by a hash of its text, so that a rerun holds out the same.

    Raises:
        CorpusError: no row to train on has an answer.
        StorageError: a file cannot be read.
    """
    read = read_examples(inputs, parameters.storage)
    warnings = read.warnings
    if parameters.held_out:
        reserved = read_examples(parameters.held_out, parameters.storage)
        examples, held_out = read.examples, reserved.examples
        warnings += reserved.warnings
    else:
        held = _hashes(read.examples["context"]) < parameters.held_out_share * _HASHES
        examples, held_out = (read.examples.filter(pa.array(mask)) for mask in (~held, held))
    if not _answered(read.examples).any():
        raise CorpusError(
            f"not one of {len(read.examples):,} rows in {_shown(inputs)} has an answer, "
            "so there is nothing to learn from"
        )
    if not _answered(examples).any():
        raise CorpusError(
            f"all answers of {_shown(inputs)} are held out; lower data.held_out_share "
            f"({parameters.held_out_share:g}), or name files by --held-out"
        )
    answerable = held_out.filter(pa.array(_answered(held_out)))
    if not len(answerable) and (parameters.held_out or parameters.held_out_share):
        warnings += (_nothing_held_out(parameters),)
    return TrainingData(examples, answerable, read.files, warnings)


def _nothing_held_out(parameters: DataParameters) -> str:
    if parameters.held_out:
        return f"{_shown(parameters.held_out)}: no row has an answer, so nothing is judged"
    return (
        f"data.held_out_share ({parameters.held_out_share:g}) holds out no passage with an answer, "
        "so nothing is judged; raise it, or name files by --held-out"
    )


def _shown(inputs: Sequence[str]) -> str:
    return ", ".join(str(Url(text)) for text in inputs)


def _answered(examples: pa.Table) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = pc.list_value_length(examples["answer_texts"]).to_numpy() > 0
    return mask


def _hashes(contexts: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    encoded = contexts.combine_chunks().dictionary_encode()
    distinct = np.array([zlib.crc32(text.encode()) for text in encoded.dictionary.to_pylist()], dtype=np.int64)
    hashes: npt.NDArray[np.int64] = distinct[encoded.indices.to_numpy()]
    return hashes
