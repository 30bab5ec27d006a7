"""Columns of all that an encoder gives, against transformers' own hidden states and attentions."""

from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest

from actors.backends.layer_output import MOST_SHARES
from actors.engine.engine import Engine
from actors.engine.inference_task import Wanted
from actors.engine.output_columns import to_table, wanted_columns
from actors.engine.passes import Share
from actors.errors import ModelError
from actors.models.loading import load_engine, load_spec
from actors.parameters import (
    AttentionParameters,
    BatchingParameters,
    EmbeddingParameters,
    ModelParameters,
    QAParameters,
    TokenVectorParameters,
)
from actors.tokenization.preprocess import prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Tokenized
from pipelines.schemas import output_schema
from tests.actors.helpers import GOLDEN, MODELS, run_pass, strings
from tests.actors.layered import Layered, layered

FOLDERS = {name: GOLDEN / "models" / name for name in MODELS} | {"minilm-qa": GOLDEN.parents[1] / "models/minilm-qa"}
QA = QAParameters(max_seq_len=48, doc_stride=14)
EMBEDDING = EmbeddingParameters(max_seq_len=32, doc_stride=11, normalize=False)
LONG = "Agnes Bell lit the lamp in 1837 and kept it for forty years, naïve or not; then Ada took the goats away. " * 2
ROWS = [("Who lit the lamp?", LONG), ("How many goats has she?", "Ada keeps three goats."), ("What?", LONG[40:170])]
PAIRS = Wanted(
    QA,
    EmbeddingParameters(normalize=False),
    token_texts=True,
    token_vectors=TokenVectorParameters(layers=(0, 2)),
    layer_vectors=True,
    attention=AttentionParameters(top=3),
    attribution=True,
)
TEXTS = replace(PAIRS, qa=None, embedding=EMBEDDING, attribution=False)


@cache
def _engine(name: str) -> Engine:
    return load_engine(FOLDERS[name], ModelParameters(device="cpu", threads=1), BatchingParameters(), True)


def _prepared(name: str, wanted: Wanted, rows: list[tuple[str, str]] = ROWS) -> Tokenized:
    spec, texts = load_spec(FOLDERS[name]), strings([context for _, context in rows])
    if wanted.qa is None:
        return prepare_texts(spec, EMBEDDING, texts, keep_texts=True)[0]
    questions = strings([question for question, _ in rows])
    return prepare_pairs(spec, wanted.qa, questions, texts, keep_texts=True)[0]


def _table(name: str, wanted: Wanted, rows: list[tuple[str, str]] = ROWS, batching: int | None = None) -> pa.Table:
    engine = _engine(name)
    if batching is not None:
        engine = Engine(engine._backend, engine.spec, BatchingParameters(fixed_windows=batching))
    results = engine.finish(engine.begin(_prepared(name, wanted, rows), wanted))
    return to_table(wanted_columns(wanted), results, wanted)


@cache
def _windows(name: str, is_pair: bool) -> list[list[Layered]]:
    wanted = PAIRS if is_pair else TEXTS
    windows = layered(FOLDERS[name], load_spec(FOLDERS[name]), _prepared(name, wanted), is_pair)
    assert max(map(len, windows)) > 1, "some texts have several windows"
    return windows


def _length(windows: list[Layered]) -> int:
    return max(window.stop for window in windows)


@pytest.mark.parametrize("wanted", [PAIRS, TEXTS], ids=["pairs", "texts"])
@pytest.mark.parametrize("name", [*MODELS, "minilm-qa"])
def test_token_vectors_are_the_hidden_states_of_the_window_where_a_token_is_farthest_from_an_edge(
    name: str, wanted: Wanted
) -> None:
    for row, windows in zip(_table(name, wanted).to_pylist(), _windows(name, wanted.qa is not None), strict=True):
        tokens = range(_length(windows))
        best = [_farthest_from_an_edge(windows, token) for token in tokens]
        expected = [window.of(token)[[0, 2]].mean(axis=0) for token, window in zip(tokens, best, strict=True)]
        assert len(row["tokens"]) == len(tokens)
        np.testing.assert_allclose(row["token_vectors"], expected, atol=1e-5)


def _farthest_from_an_edge(windows: list[Layered], token: int) -> Layered:
    holding = [window for window in windows if window.first <= token < window.stop]
    # `max` takes the first of equal ones: the earlier window.
    return max(holding, key=lambda window: window.edge(token))


@pytest.mark.parametrize("name", MODELS)
def test_the_last_layers_token_vectors_need_no_pass_that_looks_inside(name: str) -> None:
    wanted = Wanted(embedding=EMBEDDING, embeddings=False, token_vectors=TokenVectorParameters())
    assert not wanted.needs_layers
    last = replace(wanted, token_vectors=TokenVectorParameters(layers=2))
    assert last.needs_layers
    for usual, inside in zip(*(_table(name, one)["token_vectors"].to_pylist() for one in (wanted, last)), strict=True):
        np.testing.assert_allclose(usual, inside, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("name", MODELS)
def test_hidden_is_the_pooled_vector_of_every_layer_and_its_last_is_the_embedding(
    name: str, pooling: Literal["mean", "cls"]
) -> None:
    wanted = replace(PAIRS, embedding=EmbeddingParameters(normalize=False, pooling=pooling))
    for row, windows in zip(_table(name, wanted).to_pylist(), _windows(name, True), strict=True):
        if pooling == "cls":
            vectors = [window.states[:, 0] for window in windows]
        else:
            # Every token counts once however many windows hold it.
            tokens = range(_length(windows))
            vectors = [np.mean([w.of(t) for w in windows if w.first <= t < w.stop], axis=0) for t in tokens]
        np.testing.assert_allclose(row["hidden"], np.mean(vectors, axis=0), atol=1e-5)
        np.testing.assert_allclose(row["hidden"][-1], row["embedding"], atol=1e-5)


def test_hidden_of_a_question_without_tokens_is_null_as_its_embedding_is() -> None:
    wanted = replace(PAIRS, embedding=EmbeddingParameters(normalize=False, of="question"))
    table = _table("bert", wanted, [*ROWS[:2], ("\u200b", ROWS[2][1]), ROWS[0]])
    assert table["question_embedding"].is_null().to_pylist() == [False, False, True, False]
    assert table["hidden"].is_null().to_pylist() == [False, False, True, False]
    for row in table.filter(table["hidden"].is_valid()).to_pylist():
        np.testing.assert_allclose(row["hidden"][-1], row["question_embedding"], atol=1e-5)
    assert table["hidden"][3].as_py() == table["hidden"][0].as_py()


@pytest.mark.parametrize("layers", [None, (2,)])
@pytest.mark.parametrize("wanted", [PAIRS, TEXTS], ids=["pairs", "texts"])
@pytest.mark.parametrize("name", [*MODELS, "minilm-qa"])
def test_attention_is_transformers_own(name: str, wanted: Wanted, layers: tuple[int, ...] | None) -> None:
    wanted = Wanted(wanted.qa, wanted.embedding, answers=False, embeddings=False)
    dense = _table(name, replace(wanted, attention=AttentionParameters(top=None, layers=layers)))
    heaviest = _table(name, replace(wanted, attention=AttentionParameters(top=3, layers=layers)))
    assert dense.column_names == ["attention"]
    rows = zip(dense["attention"], heaviest["attention"], _windows(name, wanted.qa is not None), strict=True)
    for all_of_row, top_of_row, windows in rows:
        for every, top, window in zip(all_of_row.as_py(), top_of_row.as_py(), windows, strict=True):
            depth, heads, length, _ = window.attention.shape
            numbers = list(layers or range(1, depth + 1))
            expected = window.attention[[number - 1 for number in numbers]]
            assert every["first"] == top["first"] == window.first
            assert every["layers"] == top["layers"] == numbers
            assert (every["heads"], every["top"], every["targets"]) == (heads, None, None)
            assert (top["heads"], top["top"], len(top["tokens"])) == (heads, 3, length)
            np.testing.assert_allclose(every["weights"], expected.reshape(-1), atol=1e-5)
            shape = len(numbers), heads, length, 3
            weights, targets = np.reshape(top["weights"], shape), np.reshape(top["targets"], shape)
            np.testing.assert_allclose(weights, np.sort(expected)[..., :-4:-1], atol=1e-5)
            np.testing.assert_allclose(weights, np.take_along_axis(expected, targets, -1), atol=1e-5)


@pytest.mark.parametrize("name", [*MODELS, "minilm-qa"])
def test_attribution_sums_what_the_answers_first_and_last_token_attend_to(name: str) -> None:
    rows = zip(_table(name, PAIRS).to_pylist(), ROWS, _windows(name, True), strict=True)
    for row, (question, passage), windows in rows:
        tokens = list(enumerate(row["tokens"]))
        first = next(number for number, token in tokens if token["end"] > row["start"])
        last = max(number for number, token in tokens if token["start"] < row["end"])
        found = [(share["from_start"], share["from_end"]) for share in row["attribution"]]
        inside = [window for window in windows if window.first <= first <= last < window.stop]
        expected = [_shares(window, first, last) for window in inside]
        assert any(len(found) == len(one) and np.allclose(found, one, atol=1e-5) for one in expected)
        text = {"question": question, "passage": passage}
        for share in row["attribution"]:
            assert text[share["part"]][share["start"] : share["end"]] == share["text"]


def _shares(window: Layered, first: int, last: int) -> list[list[float]]:
    """What two passage tokens attend to in question and passage, heaviest first."""
    rows = window.attention.sum(axis=1).mean(axis=0)
    shares = rows[[window.passage_start + token - window.first for token in (first, last)]][:, window.is_text].T
    heaviest: list[list[float]] = shares[np.argsort(-shares.sum(axis=1), kind="stable")][:MOST_SHARES].tolist()
    return heaviest


def test_attribution_of_tasks_that_want_other_numbers_of_answers_comes_of_one_pass() -> None:
    engine = _engine("bert")
    wanted = [
        Wanted(QA.model_copy(update={"top_k": k, "align_to_words": aligned}), attribution=True)
        for k, aligned in ((1, True), (5, True), (1, False))
    ]
    tasks = [engine.begin(_prepared("bert", one), one) for one in wanted]
    assert len({task.kind for task in tasks}) == 1
    shares = [Share(task, np.arange(len(task.lengths))) for task in tasks]
    assert run_pass(engine, shares, engine.device_lock.offline)
    for task, one in zip(tasks, wanted, strict=True):
        _assert_same(to_table(wanted_columns(one), task.results(), one), _table("bert", one))


def test_attribution_says_nothing_of_who_finds_the_spans_of_other_tasks() -> None:
    engine, wanted = Engine(_engine("bert")._backend, _engine("bert").spec, BatchingParameters()), Wanted(QA)
    task = engine.begin(_prepared("bert", wanted), wanted)
    before = engine.decoding_seconds(task, 16, 48)
    attributed = replace(wanted, attribution=True)
    looking = engine.begin(_prepared("bert", attributed), attributed)
    engine.finish(looking)
    assert before > 0
    assert engine.decoding_seconds(task, 16, 48) == before
    assert engine.decoding_seconds(looking, 16, 48) == 0, "they are found in the pass"


def test_attribution_is_null_where_the_model_abstains() -> None:
    qa = QAParameters(handle_impossible_answer=True, max_seq_len=48, doc_stride=14)
    wanted = Wanted(qa, attribution=True)
    table = _table("distilbert", wanted)
    assert table["attribution"].is_null().to_pylist() == table["answer"].is_null().to_pylist()
    assert 0 < table["answer"].null_count < len(table)


@pytest.mark.parametrize("name", MODELS)
def test_tokens_are_those_of_the_tokenizer(name: str) -> None:
    tokenizer = load_spec(FOLDERS[name]).tokenizer()
    for wanted in (
        Wanted(QA, answers=False, token_texts=True),
        Wanted(embedding=EMBEDDING, embeddings=False, token_texts=True),
    ):
        assert not wanted.outputs, "nothing of the model itself"
        for row, (_, passage) in zip(_table(name, wanted)["tokens"].to_pylist(), ROWS, strict=True):
            expected = tokenizer.encode(passage, add_special_tokens=False)
            assert [token["id"] for token in row] == expected.ids
            assert [(token["start"], token["end"]) for token in row] == expected.offsets
            assert [token["text"] for token in row] == [passage[start:end] for start, end in expected.offsets]


@pytest.mark.parametrize("name", MODELS)
def test_the_tokens_of_a_window_are_those_that_the_model_read(name: str) -> None:
    spec = load_spec(FOLDERS[name])
    for wanted in (replace(PAIRS, answers=False), TEXTS):
        prepared = _prepared(name, wanted)
        task = _engine(name).begin(prepared, wanted)
        read = task.batch(np.arange(len(prepared.windows))).ids.tolist()
        rows = _table(name, wanted)["attention"].to_pylist()
        tokens = [(token, texts) for row, texts in zip(rows, ROWS, strict=True) for w in row for token in w["tokens"]]
        assert [token["id"] for token, _ in tokens] == read
        assert {token["part"] for token, _ in tokens} == {"special", "passage"} | ({"question"} if wanted.qa else set())
        for token, (question, passage) in tokens:
            if token["part"] == "special":
                assert token["text"] == spec.tokenizer().id_to_token(token["id"])
                assert (token["start"], token["end"]) == (None, None)
            else:
                text = question if token["part"] == "question" else passage
                assert token["text"] == text[token["start"] : token["end"]]


ALONE = {
    "answers": Wanted(QA),
    "embedding": Wanted(QA, PAIRS.embedding, answers=False),
    "tokens": Wanted(QA, answers=False, token_texts=True),
    "token_vectors": Wanted(QA, answers=False, token_vectors=PAIRS.token_vectors),
    "hidden": Wanted(QA, answers=False, layer_vectors=True),
    "attention": Wanted(QA, answers=False, attention=PAIRS.attention),
    "attribution": Wanted(QA, answers=False, attribution=True),
}


@pytest.mark.parametrize("name", ["distilbert", "roberta"])
def test_any_columns_of_one_pass_are_what_they_are_alone(name: str) -> None:
    everything = _table(name, PAIRS)
    for wanted in ALONE.values():
        _assert_same(_table(name, wanted), everything)
    for one, other in combinations(ALONE.values(), 2):
        both = Wanted(
            QA,
            one.embedding or other.embedding,
            one.answers or other.answers,
            one.gives_embeddings or other.gives_embeddings,
            token_texts=one.token_texts or other.token_texts,
            token_vectors=one.token_vectors or other.token_vectors,
            layer_vectors=one.layer_vectors or other.layer_vectors,
            attention=one.attention or other.attention,
            attribution=one.attribution or other.attribution,
        )
        found = _table(name, both)
        assert len(found.column_names) == len(wanted_columns(one)) + len(wanted_columns(other))
        _assert_same(found, everything)


@pytest.mark.parametrize("wanted", [PAIRS, TEXTS], ids=["pairs", "texts"])
@pytest.mark.parametrize("name", MODELS)
def test_batch_company_changes_nothing(name: str, wanted: Wanted) -> None:
    whole = _table(name, wanted, batching=64)
    _assert_same(_table(name, wanted, batching=1), whole)
    for number, row in enumerate(ROWS):
        _assert_same(_table(name, wanted, [row]), whole.slice(number, 1))


def _assert_same(found: pa.Table, expected: pa.Table) -> None:
    """Numbers to 1e-5, all else exactly: no two weights of these models are so near that their order could change."""
    for column in found.column_names:
        _assert_equal(found[column].to_pylist(), expected[column].to_pylist())


def _assert_equal(found: object, expected: object) -> None:
    if isinstance(found, dict) and isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in found:
            _assert_equal(found[key], expected[key])
    elif isinstance(found, list) and isinstance(expected, list):
        assert len(found) == len(expected)
        if found and isinstance(found[0], float):
            np.testing.assert_allclose(found, expected, atol=1e-5)
        else:
            for mine, theirs in zip(found, expected, strict=True):
                _assert_equal(mine, theirs)
    elif isinstance(found, float) and isinstance(expected, float):
        assert abs(found - expected) <= 1e-5
    else:
        assert found == expected


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_small_token_vectors_are_near_the_exact_ones(dtype: str) -> None:
    wanted = Wanted(QA, answers=False, token_vectors=TokenVectorParameters())
    exact = _table("bert", wanted)["token_vectors"].to_pylist()
    small = replace(wanted, token_vectors=TokenVectorParameters.model_validate({"dtype": dtype}))
    for found, vectors in zip(_table("bert", small)["token_vectors"].to_pylist(), exact, strict=True):
        if dtype == "int8":
            assert np.abs(found["values"]).max(axis=1).tolist() == [127] * len(vectors)
            found = np.array(found["values"]) * np.array(found["scales"])[:, None]
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        assert (np.abs(np.subtract(found, vectors)) <= largest * (0.5 / 127 + 1e-6)).all()


def test_the_types_are_those_of_the_schema_of_rows_and_of_none() -> None:
    engine = _engine("bert")
    for vectors in ("float32", "float16", "int8"):
        parameters = TokenVectorParameters.model_validate({"dtype": vectors, "layers": 1})
        for wanted in (replace(one, token_vectors=parameters) for one in (PAIRS, TEXTS)):
            schema = output_schema(pa.schema([]), wanted, engine.hidden_size, layers=2).remove(0)
            assert _table("bert", wanted).schema == schema
            assert _table("bert", wanted, []).schema == schema
            assert _table("bert", replace(wanted, attention=AttentionParameters(top=None))).schema == schema


def test_rows_of_one_text_get_the_same() -> None:
    twice = _table("bert", TEXTS, [*ROWS, ROWS[0]])
    assert twice.slice(3).equals(twice.slice(0, 1))
    # In other company the last digits may be others.
    once = _table("bert", TEXTS, ROWS)
    assert once.num_rows == 3
    for name in ("embedding", "hidden", "token_vectors"):
        for found, expected in zip(twice[name].to_pylist(), once[name].to_pylist(), strict=False):
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_layer_that_the_model_does_not_have() -> None:
    prepared = _prepared("bert", PAIRS)
    with pytest.raises(ModelError, match=r"token_vectors.layers names layer 3, and the model has 2.*from 0 to 2"):
        _engine("bert").begin(prepared, Wanted(QA, token_vectors=TokenVectorParameters(layers=(1, 3))))
    with pytest.raises(ModelError, match=r"attention.layers names layer 7.*from 1 to 2"):
        _engine("bert").begin(prepared, Wanted(QA, attention=AttentionParameters(layers=(7,))))


def test_another_runtime_is_refused() -> None:
    engine = load_engine(FOLDERS["bert"], ModelParameters(backend="null"), BatchingParameters(), True)
    prepared = _prepared("bert", PAIRS)
    with pytest.raises(ModelError, match=r"attention cannot be had.*torch has it.*attribution out of output.columns"):
        engine.begin(prepared, Wanted(QA, attribution=True))
    with pytest.raises(ModelError, match=r"hidden states of all layers cannot be had.*layers at last"):
        engine.begin(prepared, Wanted(QA, layer_vectors=True))
