"""Which plain texts the embeddings are kept of."""

from collections import Counter

import pytest

from actors.training.embedding_texts import choose_texts
from tests.actors.training.helpers import parameters, table

PASSAGES = [" ".join(f"p{i}w{j}" for j in range(400)) for i in range(12)]


def _chosen(rows: list[tuple[str, str]], seed: int = 42, **settings: int) -> list[str]:
    examples = table([(question, passage, None) for question, passage in rows])
    chosen: list[str] = choose_texts(examples, parameters(seed=seed, embeddings=settings)).to_pylist()
    return chosen


@pytest.fixture(scope="module")
def chosen() -> list[str]:
    return _chosen([(f"q{i}", PASSAGES[i % 12]) for i in range(1000)], texts=2000)


def test_crops_and_questions(chosen: list[str]) -> None:
    crops, questions = ([text for text in chosen if text[0] == kind] for kind in "pq")
    assert len(set(chosen)) == len(chosen)
    assert len(questions) == 300
    # Of 1,700; the same few words are drawn twice now and then.
    assert 1680 < len(crops) <= 1700
    assert all(any(f" {crop} " in f" {passage} " for passage in PASSAGES) for crop in crops)
    of_passage = Counter(crop.partition("w")[0] for crop in crops)
    assert min(of_passage.values()) > 100
    # They begin and end anywhere, at the first word and the last too.
    assert {crop.split()[0].partition("w")[2] for crop in crops} >= {"0", "100", "200"}
    assert any(crop.endswith("w399") for crop in crops)


def test_a_quarter_of_the_crops_has_lengths_of_any_size(chosen: list[str]) -> None:
    lengths = [len(text.split()) for text in chosen if text[0] == "p"]
    assert (min(lengths), max(lengths)) == (4, 189)
    short = [length for length in lengths if length < 30]
    # Of the log-uniform ones, ln(30 / 4) / ln(190 / 4) are shorter than 30: 52 % of a quarter.
    assert len(short) == pytest.approx(0.13 * len(lengths), rel=0.2)
    assert sum(length < 11 for length in short) == pytest.approx(len(short) / 2, rel=0.25)
    assert sum(length >= 110 for length in lengths) == pytest.approx(0.41 * len(lengths), rel=0.15)


def test_the_same_seed_draws_the_same_texts(chosen: list[str]) -> None:
    rows = [(f"q{i}", PASSAGES[i % 12]) for i in range(1000)]
    assert _chosen(rows, texts=2000) == chosen
    assert _chosen(rows, seed=1, texts=2000) != chosen


def test_of_short_passages_it_is_all(chosen: list[str]) -> None:
    rows = [("Who?", " Żółw\n keeps  goats. "), ("Who?", "Ada."), ("Where?", ""), ("Ada.", "Ada.")]
    assert set(_chosen(rows, texts=100)) == {"Who?", "Where?", "Żółw keeps goats.", "Ada.", ""}


def test_few_tokens_are_few_words() -> None:
    rows = [("q", passage) for passage in PASSAGES]
    lengths = [len(text.split()) for text in _chosen(rows, texts=500, max_tokens=16) if text != "q"]
    assert (min(lengths), max(lengths)) == (4, 12)


def test_a_single_text() -> None:
    assert _chosen([("q", "p1 p2")], texts=1) == ["p1 p2"]
