"""Choice of the plain texts whose embeddings training keeps: crops of passages, short and long, and questions."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actors.arrays import Longs, segments
from actors.training.parameters import TrainingParameters

TEXTS_SEED = 1
"""Added to the seed wherever plain texts are drawn, so that they come in another order than the windows."""

_QUESTIONS = 0.15
"""Share of questions among the texts."""
_ANY_LENGTH = 0.25
"""Share of the crops whose lengths are log-uniform, which gives short ones; the lengths of the others are uniform."""
_SHORTEST, _LONG, _LONGEST = 4, 30, 190
"""Words of a crop: _SHORTEST to _LONGEST where lengths are log-uniform, _LONG to _LONGEST where they are uniform."""
_WORDS_A_TOKEN = 0.75


def choose_texts(table: pa.Table, parameters: TrainingParameters) -> pa.StringArray:
    """Distinct plain texts: 85 % crops of passages, which may begin at any word, and 15 % questions.

    Args:
        table: with the columns question and context.
    """
    rng = np.random.default_rng((parameters.seed, TEXTS_SEED))
    wanted = parameters.embeddings.texts
    passages, questions = (table[name].combine_chunks().unique() for name in ("context", "question"))
    asked = min(int(wanted * _QUESTIONS), len(questions))
    longest = min(_LONGEST, int(parameters.embeddings.max_tokens * _WORDS_A_TOKEN))
    cropped = _crop(passages, _lengths(wanted - int(wanted * _QUESTIONS), longest, rng), rng)
    chosen = questions.take(pa.array(rng.choice(len(questions), asked, replace=False)))
    return pa.concat_arrays([cropped, chosen]).unique()


def _lengths(number: int, longest: int, rng: np.random.Generator) -> Longs:
    """[number] lengths of the crops, in words."""
    of_any = np.exp(rng.uniform(np.log(_SHORTEST), np.log(longest), number))
    long = rng.uniform(min(_LONG, longest), longest, number)
    lengths: Longs = np.where(rng.random(number) < _ANY_LENGTH, of_any, long).astype(np.int64)
    return lengths


def _crop(passages: pa.StringArray, lengths: Longs, rng: np.random.Generator) -> pa.StringArray:
    """Crops, each from a random passage and of its number of words, or the whole passage where that has fewer."""
    words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(passages))
    offsets: npt.NDArray[np.int32] = words.offsets.to_numpy()
    chosen = rng.integers(0, len(passages), len(lengths))
    available = np.diff(offsets)[chosen]
    taken = np.minimum(lengths, available)
    starts = offsets[chosen] + rng.integers(0, available - taken, endpoint=True)
    ends = np.concatenate([[0], np.cumsum(taken)]).astype(np.int32)
    crops = pa.ListArray.from_arrays(pa.array(ends), words.values.take(pa.array(segments(starts, taken))))
    return pc.binary_join(crops, " ")
