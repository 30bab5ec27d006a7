"""A model actor that answers requests. Plain asyncio: Ray Serve hosts it, and a test may too."""

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from actors.arrays import Floats
from actors.backends.base import ModelOutput, find_runtime
from actors.engine.answers import Answers
from actors.engine.inference_task import InferenceTask, Results, Wanted
from actors.engine.span_decoding import candidates_wanted
from actors.errors import (
    DeadlinePassed,
    ModelError,
    NotANumber,
    QueueFull,
    ShuttingDown,
    TooManyWindows,
    WindowTooLarge,
)
from actors.model_actor import ModelActor
from actors.model_config import load_config
from actors.models.hub import fingerprint
from actors.models.loading import load_spec
from actors.parameters import ModelParameters
from actors.scheduling.request import QueuedRequest
from actors.serving.parameters import LimitParameters
from actors.serving.types import ModelCard, Refusal, Refused, Reply, Request, Span, Timing
from actors.tokenization.preprocess import Rejected, Rejection, embedding_window_size, prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Tokenized

TOKENISERS = 2
"""Threads of a replica that tokenise."""
_WARM_UPS = ("Does the model run?", "Does the model run? " * 100)
"""A short window and a long one: what a pass will take is guessed between the two, not far beyond one."""
_CANDIDATES = 64
"""Of a window, that `limits.max_windows` reckons with."""
_WARM_UP_TIMES = 3
"""The first pass pays for loading code, and the batcher forgets it."""
_REJECTED = {
    Rejection.NO_TOKENS: "holds nothing that the tokenizer knows; leave it out",
    Rejection.QUESTION_TOO_LONG: "has a question that leaves no room for its passage; shorten it, or set "
    "max_question_len",
}


def describe(folder: Path, model: ModelParameters) -> ModelCard:
    """What a model folder holds, told without its weights.

    Raises:
        ModelError: it cannot be read.
    """
    spec, config, runtime = load_spec(folder), load_config(folder), find_runtime(model.backend)
    architecture = (config.architectures or ["unknown"])[0]
    return ModelCard(
        name=shown_name(model.name),
        fingerprint=fingerprint(folder, model.backend),
        architecture=architecture,
        dtype=model.dtype,
        max_length=spec.max_length,
        hidden_size=int(config.hidden_size),
        answers=architecture.endswith("ForQuestionAnswering") and ModelOutput.LOGITS in runtime.outputs,
    )


def shown_name(name: str) -> str:
    """What clients call a model: a hub id as it is, a folder or URL by its last part."""
    is_place = "://" in name or name.startswith(("/", ".", "~"))
    return name.rstrip("/").rpartition("/")[2] if is_place else name


class Replica:
    """Requests in, replies out: tokenising in threads of its own, passes by the actor's desk."""

    def __init__(
        self, actor: ModelActor, card: ModelCard, most: int = 64, limits: LimitParameters | None = None
    ) -> None:
        """Takes a loaded model actor with `sharing`.

        Args:
            most: requests that may be inside at once.
            limits: of one request; None takes the defaults.
        """
        self.actor = actor
        self.card = card
        self.inside = 0
        self._most = most
        self._limits = limits or LimitParameters()
        self._threads = ThreadPoolExecutor(TOKENISERS, thread_name_prefix="tokenise")

    async def ask(self, request: Request) -> Reply | Refusal:
        """Answers one request; a task that is cancelled leaves the queue."""
        # Before anything is tokenised: what is refused must cost nothing.
        try:
            self._check_room()
        except QueueFull as full:
            return _queue_full(full)
        self.inside += 1
        try:
            return await self._reply(request)
        finally:
            self.inside -= 1

    @property
    def busy(self) -> bool:
        """Whether so many requests wait that offline work would get no turn."""
        return self.inside > self._most // 2

    def warm_up(self) -> None:
        """Runs real passes, so that the first request does not pay for what happens once.

        Raises:
            ModelError: the model does not run.
        """
        requests = [Request(id="warm-up", task="embed", texts=(text,)) for text in _WARM_UPS]
        if self.card.answers:
            question = _WARM_UPS[:1]
            requests += [Request(id="warm-up", task="answer", texts=(text,), questions=question) for text in _WARM_UPS]
        for request in requests * _WARM_UP_TIMES:
            self.actor.ask(self.prepare(request), _wanted(request), is_probe=True).future.result()

    def check(self) -> None:
        """Raises RuntimeError where nothing would ever be answered again."""
        if self.actor.desk is None or not self.actor.desk.alive:
            raise RuntimeError("the thread of the online passes is gone")

    def _check_room(self) -> None:
        if self.inside >= self._most:
            raise QueueFull(f"{self.inside} requests wait already")
        if self.actor.desk is not None:
            self.actor.desk.check_room()

    async def _reply(self, request: Request) -> Reply | Refusal:
        try:
            return await self._computed(request)
        except Refused as refused:
            return refused.refusal
        except QueueFull as full:
            return _queue_full(full)
        except DeadlinePassed as late:
            return Refusal(504, "deadline", f"{late}; allow more with X-Request-Timeout-Ms, or try again later")
        except ShuttingDown as closing:
            return Refusal(503, "not_ready", f"{closing}; try again later", retry_after=1)
        except WindowTooLarge as large:
            return Refusal(413, "window_too_large", str(large))
        except NotANumber as error:
            return Refusal(500, "not_a_number", str(error))
        except ModelError as error:
            return Refusal(422, "invalid", str(error))

    async def _computed(self, request: Request) -> Reply:
        started = time.monotonic()
        if request.task == "answer" and not self.card.answers:
            raise Refused(
                Refusal(422, "no_answers", f"{self.card.name} has no QA head; ask it for embeddings, or serve another")
            )
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self._threads, self.prepare, request)
        tokenised = time.monotonic()
        left = None if request.seconds is None else request.seconds - (tokenised - started)
        call = self.actor.ask(prepared, _wanted(request), left, is_probe=request.is_probe)
        try:
            results = await asyncio.wrap_future(call.future)
        except asyncio.CancelledError:
            call.future.cancel()
            raise
        timing = _timing(call, started, tokenised)
        return _reply(results, call.work, timing, request)

    def prepare(self, request: Request) -> Tokenized:
        """The windows of a request.

        Raises:
            Refused: a row cannot be cut into windows, is longer than the request lets it be, or all are too much.
            ModelError: the parameters do not fit the model.
        """
        try:
            prepared, rejected = self._cut(request)
        except TooManyWindows as many:
            raise Refused(_too_many_windows(many.windows, request, self._most_windows(request))) from many
        if len(rejected.rows):
            row = int(rejected.rows[0])
            raise Refused(Refusal(422, rejected.reasons[0].value, f"input {row} {_REJECTED[rejected.reasons[0]]}"))
        if request.task != "answer" and request.long_texts != "window":
            prepared = self._one_window_each(prepared, request)
        if request.task == "tokens":
            self._check_vectors(prepared)
        return prepared

    def _check_vectors(self, prepared: Tokenized) -> None:
        windows, most = prepared.windows, self._limits.max_token_vectors
        tokens = int((windows.stop - windows.first).sum(dtype=np.int64))
        if tokens > most:
            raise Refused(
                Refusal(
                    413,
                    "too_many_tokens",
                    f"the texts have {tokens:,} tokens, and {most:,} vectors are the most at once "
                    "(limits.max_token_vectors); send fewer or shorter texts",
                )
            )

    def _cut(self, request: Request) -> tuple[Tokenized, Rejected]:
        spec, texts, most = self.actor.engine.spec, pa.array(request.texts, pa.string()), self._most_windows(request)
        if request.task == "answer":
            return prepare_pairs(spec, request.qa, pa.array(request.questions, pa.string()), texts, most)
        return prepare_texts(spec, request.embedding, texts, most)

    def _most_windows(self, request: Request) -> int:
        """All candidates of all windows are kept until the last one had its pass."""
        most = self._limits.max_windows
        if request.task != "answer":
            return most
        kept = candidates_wanted(request.qa.top_k, request.qa.align_to_words)
        return max(most * _CANDIDATES // max(kept, _CANDIDATES), 1)

    def _one_window_each(self, prepared: Tokenized, request: Request) -> Tokenized:
        first = prepared.windows.first == 0
        if first.all():
            return prepared
        if request.long_texts == "refuse":
            owner = int(prepared.windows.owner[~first][0])
            row = int(np.flatnonzero(prepared.row_owner == owner)[0])
            specials = self.actor.engine.spec.single.specials
            text = int(prepared.windows.passage[prepared.windows.owner == owner][0])
            tokens = int(prepared.passage.lengths[text]) + specials
            limit = embedding_window_size(self.actor.engine.spec, request.embedding).max_seq_len
            raise Refused(
                Refusal(413, "too_long", f"input {row} has {tokens} tokens, the model takes {limit}; shorten or cut it")
            )
        windows = prepared.windows
        kept = {name: getattr(windows, name)[first] for name in vars(windows)}
        return replace(prepared, windows=type(windows)(**kept))


def _too_many_windows(windows: int, request: Request, most: int) -> Refusal:
    lower = " or lower top_k" if request.task == "answer" and request.qa.top_k > 1 else ""
    return Refusal(
        413,
        "too_many_windows",
        f"the texts would be cut into {windows:,} windows, and {most:,} are the most at once (limits.max_windows); "
        f"send fewer or shorter texts, or raise max_seq_len{lower}",
    )


def _queue_full(full: QueueFull) -> Refusal:
    return Refusal(429, "queue_full", f"{full}; try again later", retry_after=1)


def _wanted(request: Request) -> Wanted:
    if request.task == "answer":
        return Wanted(qa=request.qa)
    if request.task == "embed":
        return Wanted(embedding=request.embedding)
    return Wanted(tokens=True)


def _timing(call: QueuedRequest, started: float, tokenised: float) -> Timing:
    began = tokenised if math.isnan(call.began) else call.began
    tokenise, queue, inference = tokenised - started, began - tokenised, time.monotonic() - began
    return Timing(tokenise * 1000, queue * 1000, inference * 1000)


def _reply(results: Results, work: InferenceTask, timing: Timing, request: Request) -> Reply:
    prepared, tokens = work.prepared, _tokens(work)
    if results.answers is not None:
        null_scores = tuple(results.answers.null_score.tolist())
        return Reply(tokens, timing, spans=_spans(results.answers), null_scores=null_scores)
    if results.tokens is not None:
        return Reply(tokens, timing, token_embeddings=_by_row(results.tokens, prepared))
    embeddings = results.embeddings
    if embeddings is not None:
        embeddings = embeddings.astype(request.embedding.dtype).astype(np.float32)
    return Reply(tokens, timing, embeddings=embeddings)


def _tokens(work: InferenceTask) -> tuple[int, ...]:
    prepared = work.prepared
    per_owner = np.bincount(prepared.windows.owner, weights=work.lengths)
    return tuple(int(n) for n in per_owner[prepared.row_owner])


def _spans(answers: Answers) -> tuple[tuple[Span, ...], ...]:
    fields = (answers.text.to_pylist(), answers.score.tolist(), answers.start.tolist(), answers.end.tolist())
    spans = [Span(*values) for values in zip(*fields, strict=True)]
    bounds = answers.offsets.tolist()
    return tuple(tuple(spans[a:b]) for a, b in pairwise(bounds))


def _by_row(windows: tuple[Floats, ...], prepared: Tokenized) -> tuple[Floats, ...]:
    owner = prepared.windows.owner
    texts = [np.concatenate([windows[i] for i in np.flatnonzero(owner == one)]) for one in range(prepared.owners)]
    return tuple(texts[one] for one in prepared.row_owner)
