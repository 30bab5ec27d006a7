"""Scores by groups."""

from typing import Any

import pyarrow as pa
import pytest

from pipelines.evaluation.breakdown import breakdown
from pipelines.evaluation.squad import EXAMPLE_SCHEMA


def _example(question: str = "q", words: int = 1, answer: str | None = "rye", source: str | None = None) -> Any:
    texts = [] if answer is None else [answer, "another of a good many words, which do not count"]
    row = {"id": "i", "question": question, "context": "  word\n" * words, "source": source}
    return {**row, "answer_texts": texts, "answer_starts": [0] * len(texts)}


def _groups(examples: list[Any], by: str) -> list[tuple[str, int]]:
    table = pa.Table.from_pylist(examples, EXAMPLE_SCHEMA)
    scores = pa.array([1.0] * len(table))
    rows = pa.table(dict.fromkeys(("em", "f1", "em_abstaining", "f1_abstaining"), scores))
    found = [row for row in breakdown(table, rows).to_pylist() if row["by"] == by]
    return [(row["group"], row["all"]) for row in found]


@pytest.mark.parametrize(
    ("question", "group"),
    [
        ("What is it?", "what"),
        ("Since WHEN did Ada mill?", "when"),
        ("On which day, and why?", "which"),
        ("whose mill is it?", "who"),
        ("To whom?", "who"),
        ("How\nmany sacks?", "how many / much"),
        ("How much rye?", "how many / much"),
        ("How is rye ground?", "how"),
        ("Name the whatnot of the show.", "other"),
        ("Why, ¿dónde?", "why"),
        ("¿dónde?", "other"),
    ],
)
def test_question_words(question: str, group: str) -> None:
    assert _groups([_example(question)], "question") == [(group, 1)]


def test_question_words_have_an_order() -> None:
    questions = ["?", "how", "why", "which", "where", "how many", "when", "who", "what", "what"]
    names = ["what", "who", "when", "where", "which", "why", "how many / much", "how", "other"]
    groups = _groups([_example(question) for question in questions], "question")
    assert groups == [(name, 2 if name == "what" else 1) for name in names]


def test_lengths() -> None:
    answers = [None, "a", "a b", "a b c", "a b c d", "a b c d e f", "a b c d e f g", None]
    assert _groups([_example(answer=answer) for answer in answers], "answer") == [
        ("no answer", 2),
        ("1 word", 1),
        ("2-3 words", 2),
        ("4-6 words", 2),
        ("7+ words", 1),
    ]
    assert _groups([_example(words=words) for words in (401, 1, 99, 100, 199, 200, 399, 400)], "passage") == [
        ("< 100 words", 2),
        ("100-199 words", 2),
        ("200-399 words", 2),
        ("400+ words", 2),
    ]


def test_sources_only_where_there_are_some() -> None:
    assert _groups([_example(), _example()], "source") == []
    assert _groups([_example(source="b"), _example(), _example(source="a"), _example(source="b")], "source") == [
        ("(none)", 1),
        ("a", 1),
        ("b", 2),
    ]


def test_means_of_a_group() -> None:
    examples = pa.Table.from_pylist([_example("Who?"), _example("Who?"), _example("Who?", answer=None)], EXAMPLE_SCHEMA)
    rows = pa.table(
        {
            "em": [1.0, 0.0, None],
            "f1": [1.0, 0.5, None],
            "em_abstaining": [0.0, 0.0, 1.0],
            "f1_abstaining": [0.0, 0.5, 1.0],
        }
    )
    (who,) = [row for row in breakdown(examples, rows).to_pylist() if row["by"] == "question"]
    assert who == {
        "by": "question",
        "group": "who",
        "answerable": 2,
        "em": 50.0,
        "f1": 75.0,
        "all": 3,
        "em_abstaining": pytest.approx(100 / 3),
        "f1_abstaining": 50.0,
    }
    (silent,) = [row for row in breakdown(examples, rows).to_pylist() if row["group"] == "no answer"]
    assert (silent["answerable"], silent["em"], silent["all"]) == (0, None, 1)
