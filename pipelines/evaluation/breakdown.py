"""Scores by group of examples: their source, the length of answer and passage, and the question word."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BREAKDOWN_SCHEMA = pa.schema(
    [
        ("by", pa.string()),
        ("group", pa.string()),
        ("answerable", pa.int64()),
        ("em", pa.float64()),
        ("f1", pa.float64()),
        ("all", pa.int64()),
        ("em_abstaining", pa.float64()),
        ("f1_abstaining", pa.float64()),
    ]
)
"""Scores in percent: em and f1 of the `answerable` rows without abstaining, the others of `all` rows with it; null
where there is no such row."""

_ANSWER_BORDERS = (1, 2, 4, 7)
_ANSWER_NAMES = ("no answer", "1 word", "2-3 words", "4-6 words", "7+ words")
_PASSAGE_BORDERS = (100, 200, 400)
_PASSAGE_NAMES = ("< 100 words", "100-199 words", "200-399 words", "400+ words")
_QUESTION_WORDS = ("what", "who", "when", "where", "which", "why", "how many / much", "how", "other")
# "whose" and "whom" are who; of two question words the first one counts.
_QUESTION = r"(?i)\b(?:(?P<much>how\s+(?:many|much))|(?P<who>who|whom|whose)|(?P<word>what|when|where|which|why|how))\b"


def breakdown(examples: pa.Table, rows: pa.Table) -> pa.Table:
    """Scores by source (where any has one), answer length, passage length and question word, as BREAKDOWN_SCHEMA.

    Groups without a row are left out. The length of an answer is that of its first gold text, in words.

    Args:
        examples: EXAMPLE_SCHEMA.
        rows: `PredictionScores.rows` of these examples.
    """
    tables = [_grouped(by, groups, order, rows) for by, groups, order in _groupings(examples)]
    return pa.concat_tables(tables)


def _groupings(examples: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray | pa.Array, Sequence[str]]]:
    sources = examples["source"]
    if sources.null_count < len(sources):
        named = pc.fill_null(sources, "(none)")
        yield "source", named, sorted(named.unique().to_pylist())
    # An empty list has no first element to take.
    texts = examples["answer_texts"].combine_chunks()
    first = pc.list_flatten(pc.list_slice(texts, 0, 1))
    answer_words = np.zeros(len(examples), dtype=np.int64)
    answer_words[pc.list_value_length(texts).to_numpy(zero_copy_only=False) > 0] = _words(first)
    yield "answer", _named(np.digitize(answer_words, _ANSWER_BORDERS), _ANSWER_NAMES), _ANSWER_NAMES
    passage_words = _words(examples["context"])
    yield "passage", _named(np.digitize(passage_words, _PASSAGE_BORDERS), _PASSAGE_NAMES), _PASSAGE_NAMES
    yield "question", _question_words(examples["question"]), _QUESTION_WORDS


def _words(texts: pa.ChunkedArray | pa.Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    counts: np.ndarray[tuple[int], np.dtype[np.int64]] = pc.count_substring_regex(texts, r"\S+").to_numpy()
    return counts


def _named(index: np.ndarray[tuple[int], np.dtype[np.int64]], names: Sequence[str]) -> pa.Array:
    return pa.array(names).take(pa.array(index))


def _question_words(questions: pa.ChunkedArray) -> pa.ChunkedArray:
    found = pc.extract_regex(questions, _QUESTION)
    much, who, word = (pc.struct_field(found, name) for name in ("much", "who", "word"))
    return pc.case_when(
        pc.make_struct(pc.is_null(found), pc.not_equal(much, ""), pc.not_equal(who, "")),
        *("other", "how many / much", "who"),
        pc.utf8_lower(word),
    )


def _grouped(by: str, groups: pa.ChunkedArray | pa.Array, order: Sequence[str], rows: pa.Table) -> pa.Table:
    means = [(name, "mean") for name in rows.column_names]
    counts = [("em", "count"), ("group", "count")]
    found = rows.append_column("group", groups).group_by("group").aggregate([*means, *counts])
    found = found.take(pc.sort_indices(pc.index_in(found["group"], pa.array(order))))
    percent = {name: pc.multiply(found[f"{name}_mean"], 100.0) for name in rows.column_names}
    columns = {
        "by": pa.array([by] * len(found)),
        "group": found["group"],
        "answerable": found["em_count"],
        "all": found["group_count"],
        **percent,
    }
    return pa.table([columns[name] for name in BREAKDOWN_SCHEMA.names], schema=BREAKDOWN_SCHEMA)
