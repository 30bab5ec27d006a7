"""One request or shard while it is computed: its windows, and the results of the passes that they had so far."""

from dataclasses import dataclass

import numpy as np

from actors.arrays import Floats, Ints, Longs
from actors.backends.base import ModelOutput, PassOutput
from actors.batch import Batch
from actors.candidates import Candidates, SpanSearch
from actors.engine.collate import collate
from actors.engine.cost_model import Amount
from actors.engine.decoding.answers import Answers, read_answers
from actors.engine.decoding.chunk_vectors import ChunkVectors
from actors.engine.decoding.pooling import Pooling, embed_owners
from actors.engine.decoding.span_decoding import best_spans, candidates_wanted, decoding_work
from actors.engine.pass_stats import PassStats
from actors.errors import ModelError, NotANumber
from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec, WindowTemplate
from actors.tokenization.tokenized import Tokenized

_MOST_CANDIDATES = 1 << 22
"""Candidates of a task that wait to be merged at a time, 12 bytes each; more where a single row has more."""
_MOST_WINDOWS = 1 << 11
"""Windows of a round: its answers are merged while the device has passes of the next. More where a row has more."""
_MOST_STATE_BYTES = 1 << 28
"""Hidden states, padding included, that one pass of a shard brings to the host, where its tokens alone set no limit."""
_NOT_A_NUMBER = "the model computes NaN; try model.precision: exact"


@dataclass(frozen=True)
class Results:
    """What the rows of a prepared shard or request get."""

    answers: Answers | None
    """None where nothing was asked."""
    embeddings: Floats | None
    """[R, D]; None when none was asked for."""
    tokens: tuple[Floats, ...] | None
    """[L, D] for each window, the last hidden states of its L tokens; None when none were asked for."""
    stats: PassStats


@dataclass(frozen=True)
class Wanted:
    """What is asked of the model."""

    qa: QAParameters | None = None
    """Answers."""
    embedding: EmbeddingParameters | None = None
    """One vector per text; beside answers, per passage."""
    tokens: bool = False
    """The last hidden state of every token."""
    late_chunks: bool = False
    """Whether the embedding is one vector per chunk of a text that is read whole, made of its tokens' hidden states."""

    @property
    def reads_states(self) -> bool:
        """Whether the last hidden states themselves are needed of a pass."""
        return self.tokens or self.late_chunks

    @property
    def outputs(self) -> frozenset[ModelOutput]:
        """What a forward pass has to give for it."""
        needs = {
            ModelOutput.LOGITS: self.qa is not None,
            ModelOutput.POOLED: self.embedding is not None and not self.late_chunks,
            ModelOutput.LAST_HIDDEN: self.reads_states,
        }
        return frozenset(output for output, is_needed in needs.items() if is_needed)


class InferenceTask:
    """The windows of one request or shard. It may share forward passes with others, and keeps only its own results."""

    def __init__(self, prepared: Tokenized, spec: EncoderSpec, wanted: Wanted, hidden_size: int) -> None:
        """Makes room for the results.

        Args:
            hidden_size: D of the model.
        """
        self.prepared = prepared
        self.wanted = wanted
        self.stats = PassStats()
        self.pause = 0.0
        """Seconds to wait before its next pass, because a window had no room in its last one; see `Engine.wait`."""
        self.tries_without_room = 0
        """Passes of one window that had no room where one fitted before, since its last pass that took place."""
        self._spec = spec
        self._template: WindowTemplate = spec.single if wanted.qa is None else spec.pair
        self.lengths: Ints = prepared.lengths(self._template.specials)
        """[W] tokens of every window, special tokens included."""
        self._asked = None if wanted.qa is None else _Asked(prepared, wanted.qa)
        self._pooled: _Pooled | None = None
        self._chunks: ChunkVectors | None = None
        self._tokens: list[Floats | None] = []
        self._most_state_tokens = _MOST_STATE_BYTES // (hidden_size * np.dtype(np.float32).itemsize)
        windows = len(prepared.windows)
        if wanted.embedding is not None and prepared.chunks is not None:
            self._chunks = ChunkVectors(prepared, prepared.chunks, hidden_size, wanted.embedding.normalize)
        elif wanted.embedding is not None:
            self._pooled = _Pooled(prepared, wanted.embedding, hidden_size, beside_answers=wanted.qa is not None)
        if wanted.tokens:
            self._tokens = [None] * windows

    @property
    def rounds(self) -> list[Longs]:
        """Positions of the windows in parts, of which a large task has one after the other: it needs less memory so,
        and its answers are merged meanwhile.
        """
        return [np.arange(len(self.lengths))] if self._asked is None else self._asked.rounds

    @property
    def kind(self) -> tuple[bool, bool, bool]:
        """Tasks of one kind can share a pass: whether spans, pooled vectors, hidden states are wanted."""
        return self._asked is not None, self._pooled is not None, self.wanted.reads_states

    def merge_complete(self) -> None:
        """Merges the candidates of rounds whose windows have all had their pass, and drops those that do not win."""
        if self._asked is not None:
            self._asked.merge_complete()

    def decoding_work(self, windows: Amount, width: int) -> Amount:
        """What finding the spans of windows costs after their pass, in scores that are compared; 0 without answers."""
        return 0 if self._asked is None else windows * self._asked.work_of_window(width)

    def windows_of_pass(self, chosen: Longs) -> int:
        """How many of the windows at the positions `chosen`, [n], the first ones, a pass may have; at least 1."""
        if not self.wanted.reads_states:
            return len(chosen)
        tokens = np.arange(1, len(chosen) + 1) * np.maximum.accumulate(self.lengths[chosen]).astype(np.int64)
        return max(int(np.searchsorted(tokens, self._most_state_tokens, side="right")), 1)

    def batch(self, chosen: Longs) -> Batch:
        """The tokens of the windows at the positions `chosen`."""
        return collate(self.prepared, self._template, chosen, self._spec.pad_id, self._spec.uses_type_ids)

    def weigh(self, chosen: Longs, batch: Batch) -> Floats | None:
        """[n, S] weights of the tokens in the pooled vectors; None where none are wanted."""
        return None if self._pooled is None else self._pooled.weigh(chosen, batch)

    def search(self, windows: slice) -> tuple[SpanSearch, ...]:
        """The spans that are wanted of windows of its own, by their places in a pass; none where no answers are."""
        return () if self._asked is None else (self._asked.search(windows),)

    def keep(self, chosen: Longs, batch: Batch, output: PassOutput) -> None:
        """Takes what a pass gave to these windows.

        Raises:
            NotANumber: the model computes NaN.
        """
        if self._asked is not None:
            self._asked.keep(chosen, batch, output)
        if self._pooled is not None and output.pooled is not None:
            self._pooled.keep(chosen, output.pooled)
        if self._chunks is not None and output.hidden is not None:
            _checked(self._chunks.keep(chosen, batch, output.hidden))
        if self.wanted.tokens and output.hidden is not None:
            for window, states, length in zip(chosen, output.hidden, batch.lengths, strict=True):
                # A view would hold the whole pass's states for as long as this window's are wanted.
                self._tokens[window] = _checked(states[:length]).copy()

    def results(self) -> Results:
        """What the rows get, once every window has had its pass."""
        answers = None if self._asked is None else self._asked.answers()
        embeddings = None if self._pooled is None else self._pooled.join()
        if self._chunks is not None:
            embeddings = self._chunks.join()[self.prepared.row_owner]
        tokens = tuple(t for t in self._tokens if t is not None) if self.wanted.tokens else None
        return Results(answers, embeddings, tokens, self.stats)


class _Asked:
    """Collects the candidates of windows, and merges those of a round into answers when all of its windows are there.

    Only then is it known which candidates cannot win: the same text may come again in any window of its row, and adds
    to the score.
    """

    def __init__(self, prepared: Tokenized, qa: QAParameters) -> None:
        self._prepared, self._qa = prepared, qa
        self._k = candidates_wanted(qa.top_k, qa.align_to_words)
        self._owners = _owners_by_round(prepared, self._k)
        bounds = [np.searchsorted(prepared.windows.owner, (own.start, own.stop)).tolist() for own in self._owners]
        self.rounds: list[Longs] = [np.arange(first, stop) for first, stop in bounds]
        self._had_pass = np.zeros(len(prepared.windows), dtype=bool)
        self._candidates: dict[int, Candidates] = {}
        self._answers: dict[int, Answers] = {}

    def work_of_window(self, width: int) -> int:
        return decoding_work(width, self._k, self._qa.max_answer_len)

    def search(self, windows: slice) -> SpanSearch:
        return SpanSearch(windows, self._k, self._qa.max_answer_len)

    def keep(self, chosen: Longs, batch: Batch, output: PassOutput) -> None:
        found = _spans_of(output, batch, self._k, self._qa.max_answer_len)
        self._had_pass[chosen] = True
        first_of_rounds = [int(windows[0]) for windows in self.rounds if len(windows)]
        number_of = np.searchsorted(first_of_rounds, chosen, side="right") - 1
        for number in np.unique(number_of).tolist():
            if number not in self._answers:
                own, windows = np.flatnonzero(number_of == number), self.rounds[number]
                if number not in self._candidates:
                    self._candidates[number] = Candidates.empty(len(windows), self._k)
                self._candidates[number].put(chosen[own] - windows[0], found.part(own))

    def merge_complete(self) -> None:
        for number in [number for number in self._candidates if self._had_pass[self.rounds[number]].all()]:
            self.merge(number)

    def answers(self) -> Answers:
        return Answers.joined([self.merge(number) for number in range(len(self.rounds))])

    def merge(self, number: int) -> Answers:
        """The answers of a round; its candidates are dropped."""
        if number not in self._answers:
            owners, own = self._owners[number], self._prepared
            if len(self.rounds) > 1:
                own = own.of_owners(np.arange(owners.start, owners.stop, dtype=np.int32))
            candidates = self._candidates.pop(number, None) or Candidates.empty(len(own.windows), self._k)
            self._answers[number] = read_answers(own, candidates, self._qa)
        return self._answers[number]


def _owners_by_round(prepared: Tokenized, k: int) -> list[range]:
    """Owners in parts, so that the windows of each, and k candidates for each window, fit the limits; at least one."""
    owners, parts, first = prepared.owners, list[range](), 0
    before = np.searchsorted(prepared.windows.owner, np.arange(owners + 1)) * k
    most = min(_MOST_CANDIDATES, _MOST_WINDOWS * k)
    while first < owners or not parts:
        fits = int(np.searchsorted(before, before[first] + most, side="right")) - 1
        parts.append(range(first, min(max(fits, first + 1), owners)))
        first = parts[-1].stop
    return parts


class _Pooled:
    """Collects the pooled vectors of windows."""

    def __init__(
        self, prepared: Tokenized, embedding: EmbeddingParameters, hidden_size: int, beside_answers: bool
    ) -> None:
        self._prepared = prepared
        self._normalize = embedding.normalize
        self._pooling = Pooling.plan(prepared, embedding, beside_answers)
        self._sums = np.zeros((len(prepared.windows), hidden_size), dtype=np.float32)
        self._weights = np.zeros(len(prepared.windows), dtype=np.float32)

    def weigh(self, chosen: Longs, batch: Batch) -> Floats:
        weights = self._pooling.weights(self._prepared, chosen, batch)
        self._weights[chosen] = weights.sum(axis=1)
        return weights

    def keep(self, chosen: Longs, sums: Floats) -> None:
        self._sums[chosen] = _checked(sums)

    def join(self) -> Floats:
        vectors = embed_owners(self._prepared, self._sums, self._weights, self._normalize)
        return vectors[self._prepared.row_owner]


def _checked(vectors: Floats) -> Floats:
    if not np.isfinite(vectors).all():
        raise NotANumber(_NOT_A_NUMBER)
    return vectors


def _spans_of(output: PassOutput, batch: Batch, k: int, max_answer_len: int) -> Candidates:
    if output.candidates is not None:
        # Found together with those of other tasks, which may want more.
        found = output.candidates.first(k)
    elif output.start_logits is not None and output.end_logits is not None:
        found = best_spans(output.start_logits, output.end_logits, batch, k, max_answer_len)
    else:
        raise ModelError("the backend returned no logits")
    if (found.start[:, 0] < 0).any():
        raise NotANumber(_NOT_A_NUMBER)
    return found
