"""Two outputs row by row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ConfigError
from pipelines.view.catalog import Catalog, open_catalog
from pipelines.view.comparison import Comparison, PairQuery, count_pairs, list_pairs
from pipelines.view.row_query import QueryError
from tests.pipelines.view.conftest import Open
from tests.pipelines.view.outputs import ANSWERS, TOWNS, write_output, write_vectors

OTHERS = {**ANSWERS, "q0": ("Ada", 0.5), "q3": (None, 0.1), "q4": ("דנה", 0.75), "q6": ("Fay", 0.5)}
MORE = [row for row in TOWNS if row["id"] != "q5"] + [
    {"id": "q6", "question": "Who?", "context": "Fay.", "title": "Fay", "year": 1}
]
VECTORS: dict[str, list[float]] = {f"q{n}": [1.0, float(n), 0.0, 0.0] for n in range(7)}


@pytest.fixture(scope="module", params=[("parquet", "parquet"), ("parquet", "jsonl")])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    first, second = request.param
    folder = tmp_path_factory.mktemp("both")
    (folder / "b").mkdir()
    outputs = [
        write_output(folder / "first", TOWNS, ANSWERS, f"output.format={first}", folder=folder),
        write_output(folder / "second", MORE, OTHERS, f"output.format={second}", folder=folder / "b"),
    ]
    with open_catalog(outputs, lambda said: None) as catalog:
        yield catalog


def _pairs(catalog: Catalog, query: PairQuery, offset: int = 0, limit: int = 50) -> list[tuple[Any, ...]]:
    assert catalog.comparison is not None
    with catalog.cursor() as cursor:
        found = list_pairs(cursor, catalog.comparison, query, offset, limit)
        if not offset and limit == 50:
            assert count_pairs(cursor, catalog.comparison, query) == len(found)
    return [(pair.id, pair.agreement) for pair in found]


def test_rows_are_joined_by_id(both: Catalog) -> None:
    agreements = ["different", "equal", "equal", "equal", "only_first", "only_second"]
    assert _pairs(both, PairQuery()) == list(zip(["q0", "q1", "q3", "q4", "q5", "q6"], agreements, strict=True))
    comparison = both.comparison
    assert isinstance(comparison, Comparison)
    assert comparison.counts == {"equal": 3, "place": 0, "different": 1, "only_first": 1, "only_second": 1}
    assert comparison.in_both == 4
    assert comparison.mean_difference == pytest.approx((0.4 + 0 + 0.6 + 0.5) / 4)
    assert comparison.to_json()["agreement"] == 0.75


def test_pairs_have_the_rows_of_both_sides(both: Catalog) -> None:
    assert both.comparison is not None
    with both.cursor() as cursor:
        pairs = list_pairs(cursor, both.comparison, PairQuery(), 0, 50)
    first, *_, only_first, only_second = pairs
    assert first.first is not None
    assert first.second is not None
    assert (first.first.values[3], first.second.values[3]) == ("London", "Ada")
    assert first.difference == pytest.approx(0.4)
    assert (only_first.second, only_second.first) == (None, None)
    assert only_second.to_json()["second"]["key"] == "0-2-1"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (PairQuery(sort="difference", descending=True), ["q3", "q4", "q0", "q1", "q5", "q6"]),
        (PairQuery(sort="first"), ["q5", "q4", "q1", "q3", "q0", "q6"]),
        (PairQuery(sort="second", descending=True), ["q4", "q0", "q1", "q6", "q3", "q5"]),
        (PairQuery(sort="id", descending=True), ["q6", "q5", "q4", "q3", "q1", "q0"]),
        (PairQuery(agreement="equal"), ["q1", "q3", "q4"]),
        (PairQuery("LONDON"), ["q0"]),
        (PairQuery("ada"), ["q0"]),
        (PairQuery("_"), ["q5"]),
        (PairQuery("'; DROP TABLE pairs; --"), []),
        (PairQuery("q", "only_second"), ["q6"]),
    ],
)
def test_pairs_are_searched_and_sorted(both: Catalog, query: PairQuery, ids: list[str]) -> None:
    assert [id for id, _ in _pairs(both, query)] == ids
    assert [id for id, _ in _pairs(both, query, 1, 2)] == ids[1:3]


@pytest.mark.parametrize("query", [PairQuery(sort="id; DROP"), PairQuery(agreement="'")])
def test_orders_and_agreements_are_those_that_there_are(both: Catalog, query: PairQuery) -> None:
    with pytest.raises(QueryError, match="none of these"):
        _pairs(both, query)


def test_rows_of_one_id_are_paired_in_their_order_and_the_same_text_elsewhere_is_told(
    tmp_path: Path, opened: Open
) -> None:
    rows = [{**TOWNS[0], "context": "Ada, Ada."}, {**TOWNS[0], "context": "Ada was born."}]
    moved = [{**TOWNS[0], "context": "Oh, Ada."}, {**TOWNS[0], "context": "Ada was born."}, TOWNS[0]]
    (tmp_path / "b").mkdir()
    catalog = opened(
        write_output(tmp_path / "first", rows, {"q0": ("Ada", 0.5)}, folder=tmp_path),
        write_output(tmp_path / "second", moved, {"q0": ("Ada", 0.5)}, folder=tmp_path / "b"),
    )
    assert _pairs(catalog, PairQuery()) == [("q0", "place"), ("q0", "equal"), ("q0", "only_second")]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_embeddings_are_compared_by_their_cosine(tmp_path: Path, opened: Open, form: str) -> None:
    turned = {**VECTORS, "q1": [-1.0, -1.0, 0.0, 0.0], "q3": [2.0, 6.0, 0.0, 0.0]}
    (tmp_path / "b").mkdir()
    catalog = opened(
        write_vectors(tmp_path / "first", TOWNS, VECTORS, folder=tmp_path),
        write_vectors(tmp_path / "second", TOWNS, turned, f"output.format={form}", folder=tmp_path / "b"),
    )
    assert catalog.comparison is not None
    assert catalog.comparison.by == "embeddings"
    assert catalog.comparison.counts["different"] == 1
    assert catalog.comparison.counts["equal"] == 5
    with catalog.cursor() as cursor:
        [worst, *_] = list_pairs(cursor, catalog.comparison, PairQuery(sort="difference", descending=True), 0, 1)
    assert worst.id == "q1"
    assert worst.difference == pytest.approx(2.0)


def test_what_has_nothing_in_common_is_refused(tmp_path: Path) -> None:
    answers = write_output(tmp_path / "answers", TOWNS, ANSWERS, folder=tmp_path)
    vectors = write_vectors(tmp_path / "vectors", TOWNS, VECTORS, folder=tmp_path)
    with pytest.raises(ConfigError, match=r"answers and .*vectors cannot be compared"):
        open_catalog([answers, vectors], lambda said: None).__enter__()


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_embeddings_of_two_widths_are_refused(tmp_path: Path, form: str) -> None:
    """Lines of JSON tell no width."""
    (tmp_path / "b").mkdir()
    narrow = {id: vector[:3] for id, vector in VECTORS.items()}
    words = "output.format=jsonl"
    first = write_vectors(tmp_path / "first", TOWNS, narrow, words, folder=tmp_path, width=3)
    second = write_vectors(tmp_path / "second", TOWNS, VECTORS, f"output.format={form}", folder=tmp_path / "b")
    with pytest.raises(ConfigError, match="both embeddings of one width"):
        open_catalog([first, second], lambda said: None).__enter__()


def test_a_vector_of_another_length_differs(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "b").mkdir()
    words = "output.format=jsonl"
    first = write_vectors(tmp_path / "first", TOWNS, VECTORS, words, folder=tmp_path)
    second = write_vectors(tmp_path / "second", TOWNS, VECTORS, words, folder=tmp_path / "b")
    part = tmp_path / "second" / f"part-00000-00001-{second.parts.job8}.jsonl"
    part.write_text(part.read_text().replace(",0.0,0.0]", ",0.0]"))
    catalog = opened(first, second)
    assert catalog.comparison is not None
    assert (catalog.comparison.counts["equal"], catalog.comparison.counts["different"]) == (4, 2)
