"""Requests at a replica, without HTTP."""

import asyncio
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import load_file, save_file

from actors.backends.base import RanPass
from actors.engine.inference_task import Wanted
from actors.errors import DeviceLost
from actors.model_actor import ModelActor
from actors.parameters import (
    BatchingParameters,
    EmbeddingParameters,
    ModelParameters,
    QAParameters,
    SharingParameters,
)
from actors.serving.model_card import describe
from actors.serving.parameters import LimitParameters
from actors.serving.replica.replica import Replica
from actors.serving.replica.threads import TOKENISERS
from actors.serving.types import Refusal, Reply, Request, WantedColumns
from actors.tenants import DEFAULT_TENANT
from actors.tokenization.preprocess import prepare_pairs, prepare_texts
from tests.actors.helpers import GOLDEN, answers_of
from tests.actors.serving.helpers import LOVELACE, WHERE
from tests.waiting import until

QUESTIONS = (WHERE, "How many goats?", WHERE)
CONTEXTS = (LOVELACE, "Ada keeps three goats in Brindle. " * 60, LOVELACE)
LONG = "Ada " * 900


def ask(replica: Replica, request: Request) -> Reply | Refusal:
    return asyncio.run(replica.ask(request))


def reply(replica: Replica, request: Request) -> Reply:
    got = ask(replica, request)
    assert isinstance(got, Reply)
    return got


def refusal(replica: Replica, request: Request) -> Refusal:
    got = ask(replica, request)
    assert isinstance(got, Refusal)
    return got


def answering(**changes: object) -> Request:
    return replace(Request("x", "answer", CONTEXTS, QUESTIONS), **changes)  # type: ignore[arg-type]


def test_answers_are_the_engines(replica: Replica) -> None:
    engine, qa = replica.actor.engine, QAParameters(top_k=3, handle_impossible_answer=True)
    answers = engine.answer(prepare_pairs(engine.spec, qa, pa.array(QUESTIONS), pa.array(CONTEXTS))[0], qa).answers
    assert answers is not None
    got = reply(replica, answering(qa=qa))
    for mine, theirs in zip(got.spans, answers_of(answers), strict=True):
        assert [(s.text, s.start, s.end) for s in mine] == [(a.text, a.start, a.end) for a in theirs]
        assert [s.score for s in mine] == pytest.approx([a.score for a in theirs], abs=1e-4)
    assert got.null_scores == pytest.approx(answers.null_score.tolist(), abs=1e-4)
    assert got.spans[0] == got.spans[2]


def test_embeddings_are_the_engines(replica: Replica) -> None:
    engine = replica.actor.engine
    for embedding in (EmbeddingParameters(), EmbeddingParameters(pooling="cls", normalize=False, dtype="float16")):
        expected = engine.embed(prepare_texts(engine.spec, embedding, pa.array(CONTEXTS))[0], embedding).embeddings
        assert expected is not None
        got = reply(replica, Request("x", "embed", CONTEXTS, embedding=embedding)).embeddings
        assert got is not None
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=1e-5 if embedding.dtype == "float32" else 2e-3)
        np.testing.assert_array_equal(got, got.astype(embedding.dtype).astype(np.float32))


def test_token_embeddings_have_a_row_for_every_token(replica: Replica) -> None:
    texts = (LOVELACE, "Ada keeps three goats in Brindle.", LOVELACE)
    got = reply(replica, Request("x", "tokens", texts))
    tokenizer = replica.actor.engine.spec.tokenizer()
    lengths = [len(tokenizer.encode(text)) for text in texts]
    assert [one.shape for one in got.token_embeddings] == [(length, 384) for length in lengths]
    assert list(got.tokens) == lengths
    first = EmbeddingParameters(pooling="cls", normalize=False)
    cls = reply(replica, Request("x", "embed", texts, embedding=first)).embeddings
    assert cls is not None
    np.testing.assert_allclose([one[0] for one in got.token_embeddings], cls, atol=1e-5)


def test_timings_and_tokens_are_those_of_the_request(replica: Replica) -> None:
    one = reply(replica, answering(texts=(LOVELACE,), questions=(WHERE,)))
    assert one.tokens == (len(replica.actor.engine.spec.tokenizer().encode(WHERE, LOVELACE)),)
    assert min(one.timing.tokenise, one.timing.queue, one.timing.inference) >= 0
    assert one.timing.inference > 0


def test_long_texts_are_pooled_cut_or_refused(replica: Replica) -> None:
    texts = (LOVELACE, LONG, LOVELACE)

    def embed(*texts: str, **changes: object) -> Request:
        return replace(Request("x", "embed", texts), **changes)  # type: ignore[arg-type]

    pooled, cut = reply(replica, embed(*texts)), reply(replica, embed(*texts, long_texts="cut"))
    # [CLS] and [SEP] take two of the 512 tokens.
    short = reply(replica, embed(LOVELACE, "Ada " * 510))
    assert pooled.embeddings is not None
    assert cut.embeddings is not None
    assert short.embeddings is not None
    np.testing.assert_allclose(cut.embeddings, short.embeddings[[0, 1, 0]], atol=1e-5)
    assert not np.allclose(pooled.embeddings[1], cut.embeddings[1], atol=1e-5)
    assert cut.tokens[1] == 512 < pooled.tokens[1]
    refused = refusal(replica, embed(*texts, long_texts="refuse"))
    assert (refused.status, refused.reason) == (413, "too_long")
    assert refused.message == "input 1 has 902 tokens, the model takes 512; shorten or cut it"
    narrow = embed(LOVELACE, long_texts="refuse", embedding=EmbeddingParameters(max_seq_len=8))
    assert "the model takes 8;" in refusal(replica, narrow).message
    assert isinstance(ask(replica, embed("Ada " * 510, long_texts="refuse")), Reply)


@pytest.mark.parametrize(
    ("request_", "reason", "said"),
    [
        (Request("x", "embed", ("Ada", "\x00\x01")), "no_tokens", "input 1 holds nothing that the tokenizer knows"),
        (answering(questions=(WHERE, "word " * 500, WHERE)), "question_too_long", "input 1 has a question that leaves"),
        (answering(qa=QAParameters(max_seq_len=1024)), "invalid", "1024"),
        (answering(qa=QAParameters(max_seq_len=64, doc_stride=64)), "invalid", "doc_stride"),
    ],
)
def test_rows_and_parameters_that_cannot_be_are_named(
    replica: Replica, request_: Request, reason: str, said: str
) -> None:
    got = refusal(replica, request_)
    assert (got.status, got.reason) == (422, reason)
    assert said in got.message


def test_a_model_without_a_qa_head_answers_nothing(replica: Replica) -> None:
    headless = Replica(replica.actor, replace(replica.card, answers=False))
    got = refusal(headless, answering())
    assert (got.status, got.reason) == (422, "no_answers")
    assert isinstance(ask(headless, Request("x", "embed", CONTEXTS)), Reply)


def test_a_request_beyond_the_room_is_refused_before_it_costs_anything(replica: Replica) -> None:
    narrow = Replica(replica.actor, replica.card, SharingParameters(queue_requests=1))
    got: list[Reply | Refusal] = []
    first = threading.Thread(target=lambda: got.append(ask(narrow, answering())))
    with replica.actor.engine.device_lock.online():
        first.start()
        until(lambda: narrow.in_hand == 1)
        full = refusal(narrow, answering())
    first.join()
    assert (full.status, full.reason, full.retry_after) == (429, "queue_full", 1)
    assert [type(one) for one in got] == [Reply]
    assert (narrow.in_hand, narrow.busy) == (0, False)


def test_a_deadline_that_passes_in_the_queue_is_told(replica: Replica) -> None:
    late = refusal(replica, answering(seconds=1e-9))
    assert (late.status, late.reason) == (504, "deadline")
    assert "X-Request-Timeout-Ms" in late.message


def test_a_cancelled_request_leaves_the_queue(replica: Replica) -> None:
    async def hang_up() -> None:
        task = asyncio.create_task(replica.ask(answering()))
        while not replica.in_hand:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with replica.actor.engine.device_lock.online():
        asyncio.run(hang_up())
        assert replica.in_hand == 0
    assert isinstance(ask(replica, answering()), Reply)


def _replica_of(folder: Path) -> Replica:
    model = ModelParameters(name=str(folder), device="cpu", threads=1)
    actor = ModelActor(model, BatchingParameters(), with_qa_head=True, sharing=SharingParameters())
    return Replica(actor, describe(folder, model))


@pytest.fixture
def small() -> Replica:
    """A replica of its own, which may be spoilt."""
    return _replica_of(GOLDEN / "models" / "bert")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_replica_without_its_thread_says_so(small: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    small.check_alive()
    scheduler = small.actor.scheduler
    assert scheduler is not None

    def end_the_thread(*_: object, **__: object) -> None:
        raise SystemExit

    monkeypatch.setattr(small.actor.engine, "submit", end_the_thread)
    small.actor.ask(small.prepare(answering()), Wanted(qa=QAParameters()))
    until(lambda: not scheduler.alive)
    with pytest.raises(RuntimeError, match="thread of the online passes"):
        small.check_alive()


def test_a_replica_whose_device_is_lost_says_so_to_clients_and_to_health_checks(
    small: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = RanPass(RuntimeError("CUDA error: an illegal memory access was encountered"))
    monkeypatch.setattr(small.actor.engine._backend, "submit", lambda _: lost)
    for _ in range(2):
        got = refusal(small, answering())
        assert (got.status, got.reason, got.retry_after) == (503, "device_lost", 1)
        assert got.message.startswith("the device is lost: CUDA error: an illegal memory access was encountered; try")
    with pytest.raises(DeviceLost, match="illegal memory access"):
        small.check_alive()


def test_a_model_that_computes_nan_is_no_fault_of_the_request(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(GOLDEN / "models" / "bert", folder)
    weights = load_file(folder / "model.safetensors")
    save_file({name: weight * float("nan") for name, weight in weights.items()}, folder / "model.safetensors")
    got = refusal(_replica_of(folder), answering())
    assert (got.status, got.reason) == (500, "not_a_number")


def test_texts_of_too_many_windows_are_refused_before_they_are_cut(replica: Replica) -> None:
    limited = Replica(replica.actor, replica.card, limits=LimitParameters(max_windows=20))
    long = " ".join(["word"] * 200)
    tiny = QAParameters(max_seq_len=16, doc_stride=2)
    got = refusal(limited, answering(texts=(long,), questions=("Who?",), qa=tiny))
    assert (got.status, got.reason) == (413, "too_many_windows")
    assert "and 20 are the most at once (limits.max_windows)" in got.message
    embedding = EmbeddingParameters(max_seq_len=8)
    assert refusal(limited, Request("x", "embed", (long,), embedding=embedding)).reason == "too_many_windows"
    assert isinstance(ask(limited, answering()), Reply)


def test_a_window_with_many_candidates_counts_for_several(replica: Replica) -> None:
    limited = Replica(replica.actor, replica.card, limits=LimitParameters(max_windows=20))
    many = answering(texts=CONTEXTS[:1] * 3, questions=(WHERE,) * 3, qa=QAParameters(top_k=1000, align_to_words=False))
    assert "1 are the most at once" in refusal(limited, many).message
    assert "or lower top_k" in refusal(limited, many).message
    assert isinstance(ask(limited, replace(many, qa=QAParameters(top_k=20))), Reply)


def test_more_token_vectors_than_fit_a_reply_are_refused(replica: Replica) -> None:
    limited = Replica(replica.actor, replica.card, limits=LimitParameters(max_token_vectors=30))
    got = refusal(limited, Request("x", "tokens", ("one word " * 20,)))
    assert (got.status, got.reason) == (413, "too_many_tokens")
    assert "40 tokens, and 30 vectors" in got.message
    assert isinstance(ask(limited, Request("x", "tokens", ("one word " * 10,))), Reply)


def test_a_probe_is_answered_where_all_room_is_taken_and_takes_none(replica: Replica) -> None:
    full = Replica(replica.actor, replica.card, SharingParameters(queue_requests=1))
    full._in_hand[DEFAULT_TENANT] = 1
    assert refusal(full, Request("x", "embed", texts=("a word",))).reason == "queue_full"
    assert reply(full, Request("x", "embed", texts=("a word",), is_probe=True)).embeddings is not None
    assert full.in_hand == 1


def test_texts_that_wait_for_a_tokeniser_count_by_their_time(replica: Replica) -> None:
    behind = Replica(replica.actor, replica.card, SharingParameters(queue_ms=100))
    behind._tokenised.observe(1000, 1.0)
    behind._to_tokenise[DEFAULT_TENANT] = 150
    assert isinstance(ask(behind, answering()), Reply)
    behind._tokenised.observe(1000, 1.0)
    behind._to_tokenise[DEFAULT_TENANT] = 1_000_000
    assert isinstance(ask(behind, answering()), Reply), "a thread is free"
    behind._tokenising = TOKENISERS
    behind._tokenised.observe(1000, 1.0)
    assert "s of tokenising go first" in refusal(behind, answering()).message


def test_nobody_waits_for_the_model_that_tells_of_its_layers(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is opened at the first request for such columns, and that takes seconds."""
    engine, entered, leave = replica.actor.engine, threading.Event(), threading.Event()
    make_ready = engine.make_ready

    def slow(wanted: Wanted) -> object:
        if threading.current_thread() is not threading.main_thread():
            entered.set()
            assert leave.wait(60)
        return make_ready(wanted)

    monkeypatch.setattr(engine, "make_ready", slow)
    hidden = Request("x", "encode", ("a word",), columns=WantedColumns(("hidden",)))

    async def several() -> None:
        waiting = [asyncio.create_task(replica.ask(hidden)) for _ in range(TOKENISERS)]
        try:
            while not entered.is_set():
                await asyncio.sleep(0.01)
            got = await asyncio.wait_for(replica.ask(Request("x", "embed", ("a word",))), 5)
            assert isinstance(got, Reply)
            assert not any(task.done() for task in waiting)
        finally:
            leave.set()
        for task in waiting:
            assert isinstance(await task, Reply)

    asyncio.run(several())
