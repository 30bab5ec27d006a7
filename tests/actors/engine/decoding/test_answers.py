"""Candidates become answers, against a plain reading of transformers 4.57.6's postprocessing."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.candidates import Candidates
from actors.engine.decoding import answers as answers_module
from actors.engine.decoding.answers import read_answers
from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.preprocess import prepare_texts
from actors.tokenization.tokenized import Tokenized
from actors.tokenization.tokenizer import TokenPositions, Tokens
from actors.tokenization.windows import cut
from tests.actors.helpers import Answer, answers_of, ints, strings, word_spec

# Texts that differ in case only, where lower-casing depends on the context (sigma), changes the length (dotted
# İ) or leaves ASCII (the Kelvin sign); code points of one to four bytes; and texts that differ but have one hash.
PIECES = ["a", "A", "ΑΣ", "ας", "Σ", "σ", "İ", "i̇", "K", "k", "é", "É", "日", "å", "😀", "😁", "ß", "[", "{"]
PIECES += [f"riverbank {at} riverbank" for at in "xyY"]
PASSAGE = st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=3), min_size=1, max_size=8)
SCORES = st.sampled_from([0.0, 0.125, 0.25, 0.25, 0.5, 0.7])


@dataclass(frozen=True)
class Passage:
    """Words of pieces; every piece is a token."""

    words: list[list[str]]

    @property
    def text(self) -> str:
        return " ".join("".join(word) for word in self.words)

    def tokens(self) -> list[tuple[int, int, int]]:
        """(first code point, code point after the last, word) of every token."""
        tokens, at = [], 0
        for number, word in enumerate(self.words):
            for piece in word:
                tokens.append((at, at + len(piece), number))
                at += len(piece)
            at += 1
        return tokens


def _places(passages: list[Passage]) -> tuple[Tokens, TokenPositions]:
    all_tokens = [passage.tokens() for passage in passages]
    offsets = np.concatenate([[0], np.cumsum([len(t) for t in all_tokens])]).astype(np.int64)
    word_first = [[w for _, _, w in tokens].index(word) for tokens in all_tokens for _, _, word in tokens]
    word_last = [
        len(tokens) - 1 - [w for _, _, w in reversed(tokens)].index(word)
        for tokens in all_tokens
        for _, _, word in tokens
    ]
    flat = [token for tokens in all_tokens for token in tokens]
    return Tokens(ints([0] * len(flat)), offsets), TokenPositions(
        ints([a for a, _, _ in flat]), ints([b for _, b, _ in flat]), ints(word_first), ints(word_last)
    )


def _prepared(passages: list[Passage], rows: list[int], capacity: int, stride: int) -> Tokenized:
    tokens, places = _places(passages)
    owner, passage = ints(range(len(rows))), ints(rows)
    none = np.zeros_like(owner)
    lengths = none, tokens.lengths[passage]
    windows = cut(owner, none, passage, lengths, capacity, stride)
    question = Tokens(ints([]), np.zeros(2, dtype=np.int64))
    return Tokenized(owner, question, tokens, windows, places, strings([p.text for p in passages]))


def _upstream(
    passage: Passage,
    windows: list[tuple[int, int]],
    spans: list[list[tuple[int, int, float]]],
    nulls: list[float],
    qa: QAParameters,
) -> list[Answer]:
    """The loop of QuestionAnsweringPipeline.postprocess, one row at a time."""
    answers: list[Answer] = []
    for (first, stop), found in zip(windows, spans, strict=True):
        inside = passage.tokens()[first:stop]
        for s, e, score in found:
            start, end = inside[s][0], inside[e][1]
            if qa.align_to_words:
                start = next(a for a, _, word in inside if word == inside[s][2])
                end = [b for _, b, word in inside if word == inside[e][2]][-1]
            text = passage.text[start:end]
            for i, known in enumerate(answers):
                assert known.text is not None
                if known.text.lower() == text.lower():
                    answers[i] = Answer(known.text, known.start, known.end, known.score + score)
                    break
            else:
                answers.append(Answer(text, start, end, score))
    if qa.handle_impossible_answer:
        answers.append(Answer(None, -1, -1, min(nulls)))
    return sorted(answers, key=lambda answer: answer.score, reverse=True)[: qa.top_k]


@given(
    texts=st.lists(PASSAGE, min_size=1, max_size=3),
    capacity=st.integers(3, 10),
    stride=st.integers(0, 2),
    qa=st.builds(
        QAParameters,
        top_k=st.integers(1, 6),
        align_to_words=st.booleans(),
        handle_impossible_answer=st.booleans(),
    ),
    limit=st.sampled_from(["_MOST_SPANS", "_MOST_BYTES"]),
    most=st.integers(0, 60),
    data=st.data(),
)
def test_answers_are_merged_as_upstream_merges_them_however_many_at_once(
    texts: list[list[list[str]]],
    capacity: int,
    stride: int,
    qa: QAParameters,
    limit: str,
    most: int,
    data: st.DataObject,
) -> None:
    passages = [Passage(words) for words in texts]
    rows = data.draw(st.lists(st.integers(0, len(passages) - 1), min_size=1, max_size=4))
    prepared = _prepared(passages, rows, capacity, stride)
    k = 5
    candidates = Candidates.empty(len(prepared.windows), k)
    bounds = list(zip(prepared.windows.first.tolist(), prepared.windows.stop.tolist(), strict=True))
    spans: list[list[tuple[int, int, float]]] = []
    for window, (first, stop) in enumerate(bounds):
        possible = [(s, e) for s in range(stop - first) for e in range(s, stop - first)]
        chosen = data.draw(st.lists(st.sampled_from(possible), unique=True, min_size=1, max_size=k))
        scores = sorted((data.draw(SCORES) for _ in chosen), reverse=True)
        spans.append(
            [(s, e, score) for (s, e), score in zip(chosen, (float(np.float32(x)) for x in scores), strict=True)]
        )
        for place, (s, e, score) in enumerate(spans[-1]):
            candidates.start[window, place], candidates.end[window, place] = s, e
            candidates.score[window, place] = score
        candidates.null_score[window] = data.draw(SCORES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers_module, limit, most)
        answers = read_answers(prepared, candidates, qa)
    got = answers_of(answers)
    assert len(got) == len(rows)
    for row, passage in enumerate(rows):
        mine = np.flatnonzero(prepared.windows.owner == row)
        nulls = [float(candidates.null_score[w]) for w in mine]
        assert answers.null_score[row] == min(nulls)
        expected = _upstream(passages[passage], [bounds[w] for w in mine], [spans[w] for w in mine], nulls, qa)
        assert [(a.text, a.start, a.end) for a in got[row]] == [(a.text, a.start, a.end) for a in expected]
        assert [a.score for a in got[row]] == pytest.approx([a.score for a in expected], abs=1e-12)


def _ask(passage: Passage, spans: list[tuple[int, int, float]], qa: QAParameters, null: float = 0.0) -> list[Answer]:
    prepared = _prepared([passage], [0], 1000, 0)
    candidates = Candidates.empty(1, len(spans))
    for place, (s, e, score) in enumerate(spans):
        candidates.start[0, place], candidates.end[0, place], candidates.score[0, place] = s, e, score
    candidates.null_score[0] = null
    return answers_of(read_answers(prepared, candidates, qa))[0]


def test_equal_texts_are_one_answer_with_the_sum_and_the_first_place() -> None:
    passage = Passage([["Ada"], ["saw"], ["ADA"]])
    (answer,) = _ask(passage, [(2, 2, 0.5), (0, 0, 0.25)], QAParameters())
    assert answer == Answer("ADA", 8, 11, 0.75)


def test_a_sum_may_overtake_the_best_span() -> None:
    passage = Passage([["x"], ["y"], ["X"]])
    first, second = _ask(passage, [(1, 1, 0.5), (0, 0, 0.375), (2, 2, 0.25)], QAParameters(top_k=2))
    assert (first.text, first.score, second.text) == ("x", 0.625, "y")


def test_a_final_sigma_folds_as_python_folds_it() -> None:
    # Lower-cased as a word, ΑΣ ends in ς and equals ας, not ασ.
    passage = Passage([["ΑΣ"], ["ας"], ["ασ"]])
    got = _ask(passage, [(0, 0, 0.25), (1, 1, 0.25), (2, 2, 0.25)], QAParameters(top_k=3))
    assert [(a.text, a.score) for a in got] == [("ΑΣ", 0.5), ("ασ", 0.25)]


def test_offsets_count_code_points_whatever_their_bytes() -> None:
    passage = Passage([["😀"], ["日本"], ["é"], ["ok"]])
    (answer,) = _ask(passage, [(1, 3, 0.5)], QAParameters())
    assert answer == Answer("日本 é ok", 2, 9, 0.5)
    assert passage.text[answer.start : answer.end] == answer.text


def test_of_equal_scores_the_first_wins_and_abstaining_comes_last() -> None:
    passage = Passage([["b"], ["a"]])
    got = _ask(passage, [(1, 1, 0.25), (0, 0, 0.25)], QAParameters(top_k=3, handle_impossible_answer=True), null=0.25)
    assert [a.text for a in got] == ["a", "b", None]


def test_the_model_abstains_where_the_null_answer_scores_more() -> None:
    passage = Passage([["a"]])
    impossible = QAParameters(handle_impossible_answer=True)
    assert _ask(passage, [(0, 0, 0.25)], impossible, null=0.5) == [Answer(None, -1, -1, 0.5)]
    assert _ask(passage, [(0, 0, 0.25)], QAParameters(), null=0.5)[0].text == "a"


def test_a_word_that_the_border_cuts_ends_at_the_border() -> None:
    prepared = _prepared([Passage([["ab", "cd", "ef"]])], [0], 2, 1)
    candidates = Candidates.empty(2, 1)
    candidates.start[:, 0], candidates.end[:, 0] = [0, 1], [0, 1]
    candidates.score[:, 0] = [0.25, 0.5]
    got = answers_of(read_answers(prepared, candidates, QAParameters(top_k=2)))[0]
    assert [(a.text, a.start, a.end) for a in got] == [("cdef", 2, 6), ("abcd", 0, 4)]


def test_windows_for_embedding_cannot_be_read() -> None:
    prepared, _ = prepare_texts(word_spec(), EmbeddingParameters(), strings(["w1"]))
    with pytest.raises(ValueError, match="prepared for embedding"):
        read_answers(prepared, Candidates.empty(1, 1), QAParameters())


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("align", [False, True])
def test_no_rows_no_answers(impossible: bool, align: bool) -> None:
    prepared = _prepared([Passage([["a"]])], [], 10, 0)
    qa = QAParameters(handle_impossible_answer=impossible, align_to_words=align)
    answers = read_answers(prepared, Candidates.empty(0, 3), qa)
    assert answers.offsets.tolist() == [0]
    assert [len(answers.text), len(answers.score), len(answers.null_score)] == [0, 0, 0]
