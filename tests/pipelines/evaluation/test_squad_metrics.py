"""EM and F1 against examples worked out by hand."""

import pytest

from pipelines.evaluation.squad_metrics import exact_match, f1, normalise


def test_normalisation_as_squads() -> None:
    assert normalise("  The Café,  at\nan End-of-Road! ") == "café at endofroad"
    assert normalise("Theatre and Annex") == "theatre and annex"


@pytest.mark.parametrize(
    ("answer", "gold", "match", "score"),
    [
        ("the cat", ["Cat!"], 1.0, 1.0),
        ("a black cat", ["the cat"], 0.0, 2 / 3),  # black cat | cat: 1 shared, 2 × 1 / (2 + 1)
        ("in the year 1871", ["1871", "year 1871"], 0.0, 0.8),  # best is the second: 2 × 2 / (3 + 2)
        ("no no yes", ["no yes yes"], 0.0, 2 / 3),  # a word counts as often as both have it: 2 × 2 / 6
        ("dog", ["cat"], 0.0, 0.0),
        ("dog", [], 0.0, 0.0),
        (None, ["cat"], 0.0, 0.0),
        ("", ["cat"], 0.0, 0.0),
        ("The!", ["cat"], 0.0, 0.0),  # nothing is left of the answer
        ("", [], 1.0, 1.0),  # the passage does not say
        (None, [], 1.0, 1.0),
        ("cat", ["the", "cat"], 1.0, 1.0),
        ("", ["the", "cat"], 0.0, 0.0),  # a gold answer of which nothing is left does not count beside others,
        ("", ["the", "!"], 1.0, 1.0),  # and alone it is no answer
    ],
)
def test_scores(answer: str | None, gold: list[str], match: float, score: float) -> None:
    assert exact_match(answer, gold) == match
    assert f1(answer, gold) == pytest.approx(score)
