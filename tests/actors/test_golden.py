"""What transformers 4.57.6 answers, this engine answers: every golden case, alone and in company.

Departures, all of them by name and by condition:

* A passage without a token is rejected; upstream answers "" with a meaningless score, or raises.
* An empty question is asked; upstream raises.
* A `doc_stride` that no window can hold is an error up front, even where the passage happens to be short.
* A literal CLS token in the question is a token like any other; upstream takes it for the window's own.
* As many candidates as there are pairs of tokens are fine; upstream's np.argpartition raises.
* Answers of score 0 are not kept: upstream fills up with candidates that may not be answers at all.
* `max_question_len` is ignored upstream, and so is left out here.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from actors.backends.pytorch.torch_backend import TorchBackend
from actors.backends.pytorch.torch_weights import load_model
from actors.engine.collate import collate
from actors.engine.engine import Engine
from actors.errors import ModelError
from actors.parameters import BatchingParameters, ModelParameters, QAParameters
from actors.tokenization.preprocess import Rejection, qa_window_size
from tests.actors.conftest import Loaded
from tests.actors.helpers import (
    GOLDEN,
    MODELS,
    Answer,
    answers_of,
    prepare,
    read_lines,
    same_places,
    same_up_to_ties,
)

CLS_TEXT = {"distilbert": "[CLS]", "bert": "[CLS]", "roberta": "<s>"}
PASSAGES = {record["id"]: record["context"] for record in read_lines(GOLDEN / "passages.jsonl")}


@dataclass(frozen=True)
class Case:
    """One line of cases.jsonl."""

    line: int
    model: str
    passage: str
    question: str
    parameters: dict[str, Any]
    expected: list[dict[str, Any]] | None
    error: str | None

    @property
    def pair(self) -> tuple[str, str]:
        return self.question, PASSAGES[self.passage]

    @property
    def given(self) -> dict[str, Any]:
        """The parameters, without the one that upstream ignores."""
        return {name: value for name, value in self.parameters.items() if name != "max_question_len"}

    @property
    def answers(self) -> list[Answer]:
        """What is expected here: no answers of score 0, and abstaining as this engine writes it."""
        found = [Answer(e["answer"], e["start"], e["end"], e["score"]) for e in self.expected or []]
        return [_abstaining(a) if (a.text, a.start, a.end) == ("", 0, 0) else a for a in found if a.score > 0]

    def name(self) -> str:
        return f"line {self.line}: {self.model}, {self.passage}, {self.question[:40]!r}, {self.parameters}"


def _abstaining(answer: Answer) -> Answer:
    return Answer(None, -1, -1, answer.score)


def _has_no_tokens(case: Case, engine: Engine) -> bool:
    return not engine.spec.tokenizer().encode(PASSAGES[case.passage], add_special_tokens=False).ids


def _cases() -> list[Case]:
    lines = read_lines(GOLDEN / "cases.jsonl")
    both = {"expected": None, "error": None}
    return [Case(number, **(both | line)) for number, line in enumerate(lines, start=1)]


CASES = _cases()


def _compared(model: str, engine: Engine) -> list[Case]:
    """The cases that have an answer upstream and here."""
    return [
        case
        for case in CASES
        if case.model == model
        and case.expected is not None
        and CLS_TEXT[model] not in case.question
        and not _has_no_tokens(case, engine)
        and not _stride_is_too_long(case, engine)
    ]


def _stride_is_too_long(case: Case, engine: Engine) -> bool:
    size = case.parameters.get("max_seq_len", 384)
    return bool(case.parameters.get("doc_stride", 0) >= size - engine.spec.pair.specials)


def _answer(engine: Engine, cases: Sequence[Case], qa: QAParameters) -> list[list[Answer]]:
    prepared, rejected = prepare(engine.spec, qa, [case.pair for case in cases])
    assert not rejected.reasons, [cases[row].name() for row in rejected.rows]
    answers = engine.answer(prepared, qa).answers
    assert answers is not None
    return [[a for a in row if a.score > 0] for row in answers_of(answers)]


def _check(results: Iterable[tuple[Case, list[Answer]]]) -> None:
    """All agree; and nearly all without the allowance for ties, which another processor may need."""
    wrong, tied, total = [], 0, 0
    for case, got in results:
        total += 1
        if not same_up_to_ties(got, case.answers):
            wrong.append(f"{case.name()}\n  got      {got}\n  expected {case.answers}")
        tied += not same_places(got, case.answers)
    assert not wrong, f"{len(wrong)} of {total} cases differ:\n" + "\n".join(wrong[:10])
    assert tied <= 0.02 * total


@pytest.fixture(scope="module", params=[False, True], ids=["spans on the host", "spans on the device"])
def engines_of_both_kinds(models: dict[str, Loaded], request: pytest.FixtureRequest) -> dict[str, Engine]:
    """An engine for each golden model; what finds the spans on a GPU may do so here."""
    if not request.param:
        return {name: model.engine() for name, model in models.items()}
    cpu = ModelParameters(device="cpu")
    found = {}
    for name, model in models.items():
        backend = TorchBackend(load_model(model.folder, with_qa_head=True), cpu, searches_spans=True)
        found[name] = Engine(backend, model.spec, BatchingParameters())
    return found


@pytest.mark.parametrize("model", MODELS)
def test_every_case_alone(engines_of_both_kinds: dict[str, Engine], model: str) -> None:
    engine = engines_of_both_kinds[model]
    cases = _compared(model, engine)
    assert len(cases) > 170
    _check((case, _answer(engine, [case], QAParameters(**case.given))[0]) for case in cases)


@pytest.mark.parametrize("model", MODELS)
def test_every_case_in_one_shard_with_all_others_of_its_parameters(
    engines_of_both_kinds: dict[str, Engine], model: str
) -> None:
    engine = engines_of_both_kinds[model]
    shards: dict[QAParameters, list[Case]] = defaultdict(list)
    for case in _compared(model, engine):
        shards[QAParameters(**case.given)].append(case)
    assert max(len(cases) for cases in shards.values()) > 50
    _check(
        (case, got) for qa, cases in shards.items() for case, got in zip(cases, _answer(engine, cases, qa), strict=True)
    )


@pytest.mark.parametrize("model", MODELS)
def test_departure_passages_without_tokens_are_rejected(engines: dict[str, Engine], model: str) -> None:
    engine = engines[model]
    cases = [case for case in CASES if case.model == model and _has_no_tokens(case, engine)]
    for case in cases:
        _, rejected = prepare(engine.spec, QAParameters(**case.given), [case.pair])
        assert rejected.reasons == [Rejection.NO_TOKENS], case.name()
        meaningless = [e["answer"] for e in case.expected or []]
        assert not any(meaningless), "upstream has no answer either"
    assert bool(cases) == (model != "roberta"), "RoBERTa's tokens are bytes, so blanks have some"


def test_questions_that_leave_no_room_are_rejected_where_upstream_raises(engines: dict[str, Engine]) -> None:
    messages = ("Truncation error: Sequence to truncate too short", "PanicException: `stride`")
    cases = [c for c in CASES if c.error is not None and any(m in c.error for m in messages)]
    cases = [case for case in cases if not _stride_is_too_long(case, engines[case.model])]
    assert len(cases) >= 3
    for case in cases:
        _, rejected = prepare(engines[case.model].spec, QAParameters(**case.given), [case.pair])
        assert rejected.reasons == [Rejection.QUESTION_TOO_LONG], case.name()


def test_departure_an_overlap_longer_than_any_window_is_an_error_even_for_short_passages(
    engines: dict[str, Engine],
) -> None:
    cases = [case for case in CASES if _stride_is_too_long(case, engines[case.model])]
    assert sum(case.error is None for case in cases) == 2, "those where upstream gets away with it"
    assert sum(case.error is not None for case in cases) == 3
    for case in cases:
        with pytest.raises(ModelError, match="doc_stride"):
            qa_window_size(engines[case.model].spec, QAParameters(**case.given))


def test_departure_an_empty_question_is_asked(engines: dict[str, Engine]) -> None:
    (case,) = [case for case in CASES if case.error == "ValueError: `question` cannot be empty"]
    (answers,) = _answer(engines[case.model], [case], QAParameters(**case.given))
    assert answers


def test_departure_as_many_candidates_as_pairs_of_tokens_are_fine(engines: dict[str, Engine]) -> None:
    (case,) = [case for case in CASES if case.error is not None and "kth" in case.error]
    (answers,) = _answer(engines[case.model], [case], QAParameters(**case.given))
    assert answers


def test_departure_a_literal_cls_token_in_the_question_is_no_place_for_an_answer(engines: dict[str, Engine]) -> None:
    """Upstream's softmax counts every CLS token of the window, even one that the asker typed."""
    cases = [case for case in CASES if CLS_TEXT[case.model] in case.question and case.expected is not None]
    assert cases
    for case in cases:
        (answers,) = _answer(engines[case.model], [case], QAParameters(**case.given))
        context = PASSAGES[case.passage]
        assert all(a.text is None or context[a.start : a.end] == a.text for a in answers)


def test_parameters_that_upstream_refuses_are_refused() -> None:
    cases = [case for case in CASES if case.error is not None and "parameter should be >= 1" in case.error]
    assert len(cases) == 2
    for case in cases:
        with pytest.raises(ValidationError, match="greater than or equal to 1"):
            QAParameters(**case.given)


def test_no_case_is_left_out(engines: dict[str, Engine]) -> None:
    compared = {case.line for model in MODELS for case in _compared(model, engines[model])}
    departures = {
        case.line
        for case in CASES
        if case.error is not None
        or _has_no_tokens(case, engines[case.model])
        or _stride_is_too_long(case, engines[case.model])
        or CLS_TEXT[case.model] in case.question
    }
    assert compared | departures == {case.line for case in CASES}
    assert not compared & departures
    assert len(compared) > 0.93 * len(CASES)


@pytest.mark.parametrize("model", MODELS)
def test_windows_are_cut_and_framed_as_upstream_does(engines: dict[str, Engine], model: str) -> None:
    """All records of one shape go through one batch, so that padding is in the way."""
    spec = engines[model].spec
    shapes: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for record in read_lines(GOLDEN / "windows.jsonl"):
        if record["model"] == model:
            shapes[record["max_seq_len"], record["doc_stride"]].append(record)
    for (max_seq_len, doc_stride), records in shapes.items():
        qa = QAParameters(max_seq_len=max_seq_len, doc_stride=doc_stride)
        pairs = [(record["question"], PASSAGES[record["passage"]]) for record in records]
        without = [i for i, (_, c) in enumerate(pairs) if not spec.tokenizer().encode(c, add_special_tokens=False).ids]
        prepared, rejected = prepare(spec, qa, pairs)
        assert rejected.rows.tolist() == without
        expected = [w for i, record in enumerate(records) if i not in without for w in record["windows"]]
        literal_cls = [
            CLS_TEXT[model] in record["question"]
            for i, record in enumerate(records)
            if i not in without
            for _ in record["windows"]
        ]
        assert len(prepared.windows) == len(expected)
        if not expected:
            continue
        batch = collate(prepared, spec.pair, np.arange(len(expected)), spec.pad_id, uses_type_ids=True)
        assert batch.token_type_ids is not None
        assert batch.cls is not None
        assert prepared.places is not None
        for row, window in enumerate(expected):
            length = int(batch.lengths[row])
            assert batch.input_ids[row, :length].tolist() == window["input_ids"]
            assert batch.token_type_ids[row, :length].tolist() == window["token_type_ids"]
            start, count = int(batch.passage_start[row]), int(batch.passage_length[row])
            base = int(prepared.passage.offsets[prepared.windows.passage[row]] + prepared.windows.first[row])
            places = zip(prepared.places.char_start, prepared.places.char_end, strict=True)
            mine = [[int(a), int(b)] for a, b in places][base : base + count]
            assert mine == window["offsets"][start : start + count]
            if not literal_cls[row]:
                answerable = {i for i, masked in enumerate(window["p_mask"]) if not masked}
                assert answerable == {int(batch.cls[row]), *range(start, start + count)}


def test_texts_and_offsets_belong_together(engines: dict[str, Engine]) -> None:
    questions = ["Who?"] * len(PASSAGES)
    qa = QAParameters(top_k=20, max_answer_len=30)
    for engine in engines.values():
        prepared, rejected = prepare(engine.spec, qa, list(zip(questions, PASSAGES.values(), strict=True)))
        answers = engine.answer(prepared, qa).answers
        assert answers is not None
        kept = [c for i, c in enumerate(PASSAGES.values()) if i not in rejected.rows]
        for context, row in zip(kept, answers_of(answers), strict=True):
            assert row
            assert all(context[a.start : a.end] == a.text for a in row)
