"""One request or shard while it is computed: its windows, and the results of the passes that they had so far."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from actors.arrays import Flags, Floats, Ints, Longs
from actors.backends.base import ModelOutput, PassOutput
from actors.backends.layer_output import LayerOutput, LayerRequest, ModelDepth
from actors.batch import Batch
from actors.candidates import Candidates, SpanSearch
from actors.engine.collate import collate
from actors.engine.cost_model import Amount
from actors.engine.decoding.answers import Answers, read_answers
from actors.engine.decoding.attention import WindowAttention
from actors.engine.decoding.attribution import AnswerAttribution, RoundAttribution, answer_rows
from actors.engine.decoding.chunk_vectors import ChunkVectors
from actors.engine.decoding.layer_vectors import LayerVectors
from actors.engine.decoding.pooling import Pooling, TextVectors, check_dimensions
from actors.engine.decoding.rows import NOT_A_NUMBER, checked
from actors.engine.decoding.span_decoding import best_spans, candidates_wanted, decoding_work
from actors.engine.decoding.token_texts import WindowTokens, passage_tokens
from actors.engine.decoding.token_vectors import TokenVectors
from actors.engine.decoding.window_probabilities import WindowProbabilities
from actors.engine.pass_stats import PassStats
from actors.errors import ModelError, NotANumber
from actors.parameters import AttentionParameters, EmbeddingParameters, QAParameters, TokenVectorParameters
from actors.tokenization.encoder_spec import EncoderSpec, WindowTemplate
from actors.tokenization.tokenized import Tokenized

_MOST_CANDIDATES = 1 << 22
"""Candidates of a task that wait to be merged at once, 12 bytes each without attribution; more where a row has more."""
_ATTRIBUTED = 15
"""A candidate with its attribution counts as so many: `RoundAttribution` holds 160 bytes for each."""
_MOST_WINDOWS = 1 << 11
"""Windows of a round: its answers are merged while the device has passes of the next. More where a row has more."""
_MOST_STATE_BYTES = 1 << 28
"""Hidden states, padding included, that one pass of a shard brings to the host, where its tokens alone set no limit."""


@dataclass(frozen=True)
class Results:
    """What the rows of a prepared shard or request get."""

    answers: Answers | None
    """None where nothing was asked."""
    vectors: tuple[TextVectors, ...]
    """Those that were asked for, in the order of their columns."""
    window_states: tuple[Floats, ...] | None
    """[S, D] for each window, the last hidden states of its S tokens; None when none were asked for."""
    stats: PassStats
    token_texts: pa.ListArray | None = None
    """[R] `token_texts.TOKEN`s, the tokens of each row's passage; this and all below: None when not asked for."""
    token_vectors: pa.Array | None = None
    """[R] of `token_vectors.column_type`, aligned with these tokens."""
    layer_vectors: pa.FixedSizeListArray | None = None
    """[R] lists of the pooled vectors of L + 1 layers, the embedding layer's first; null as the embedding is."""
    attention: pa.ListArray | None = None
    """[R] lists of `attention.WINDOW`s."""
    attribution: pa.ListArray | None = None
    """[R] lists of `attribution.SHARE`s; null where the model abstains."""
    probabilities: pa.ListArray | None = None
    """[R] lists of `window_probabilities.WINDOW`s; no column of a job."""

    @property
    def embeddings(self) -> Floats | None:
        """[R, D] the first of the vectors, and the only one unless several were asked for; None when none was."""
        return self.vectors[0].values if self.vectors else None


@dataclass(frozen=True)
class Wanted:
    """What is asked of the model."""

    qa: QAParameters | None = None
    """How questions are answered; windows are of question and passage then. None: of texts alone."""
    embedding: EmbeddingParameters | None = None
    """How tokens are pooled: one vector per text; with `qa`, per passage."""
    answers: bool = True
    """With `qa`: whether the answers themselves are wanted."""
    embeddings: bool = True
    """With `embedding`: whether these vectors themselves are wanted."""
    window_states: bool = False
    """The last hidden state of every token of every window, special tokens included."""
    token_texts: bool = False
    """The tokens of the passages, and where they stand."""
    token_vectors: TokenVectorParameters | None = None
    """A vector for each of these tokens."""
    layer_vectors: bool = False
    """The pooled vectors of all layers, by `embedding`, or its defaults where that is None."""
    attention: AttentionParameters | None = None
    """What the tokens of each window attended to."""
    attribution: bool = False
    """What the best answer's first and last token attended to; with `qa` alone."""
    probabilities: bool = False
    """How probable it is that an answer begins or ends at each token of every window; with answers alone."""

    late_chunks: bool = False
    """Whether the embedding is one vector per chunk of a text that is read whole, made of its tokens' hidden states."""

    @property
    def gives_answers(self) -> bool:
        """Whether rows get answers."""
        return self.qa is not None and self.answers

    @property
    def gives_embeddings(self) -> bool:
        """Whether rows get embeddings."""
        return self.embedding is not None and self.embeddings

    @property
    def gives_states(self) -> bool:
        """Whether the last hidden states themselves have to come back from the device."""
        vectors = self.token_vectors
        return self.window_states or self.late_chunks or (vectors is not None and vectors.numbers is None)

    @property
    def finds_spans(self) -> bool:
        """Whether a pass has to find spans: for the answers, or for what is told of the best one."""
        return self.gives_answers or self.attribution

    @property
    def needs_texts(self) -> bool:
        """Whether texts and places of all tokens, those of the questions too, have to be in the `Tokenized`."""
        return self.token_texts or self.attention is not None or self.attribution or self.probabilities

    @cached_property
    def outputs(self) -> frozenset[ModelOutput]:
        """What a forward pass has to give for it."""
        poolings = self.embedding.poolings if self.embedding is not None and self.gives_embeddings else ()
        vectors = self.token_vectors
        is_last = vectors is not None and vectors.numbers is None
        needs = {
            ModelOutput.LOGITS: self.finds_spans,
            ModelOutput.POOLED: not self.late_chunks and any(pooling != "max" for pooling in poolings),
            ModelOutput.LAST_HIDDEN: self.gives_states or "max" in poolings,
            ModelOutput.ALL_HIDDEN: self.layer_vectors or (vectors is not None and not is_last),
            ModelOutput.ATTENTION: self.attention is not None or self.attribution,
        }
        return frozenset(output for output, is_needed in needs.items() if is_needed)

    @property
    def compared(self) -> "Wanted | None":
        """Of all this the answers and embeddings, by which one precision is compared with another; None of none."""
        kept = Wanted(self.qa, self.embedding, self.answers, self.embeddings, late_chunks=self.late_chunks)
        return kept if kept.gives_answers or kept.gives_embeddings else None

    @cached_property
    def needs_layers(self) -> bool:
        """Whether it takes a pass that tells what goes on in the layers."""
        return not self.outputs.isdisjoint((ModelOutput.ALL_HIDDEN, ModelOutput.ATTENTION))


class InferenceTask:
    """The windows of one request or shard. It may share forward passes with others, and keeps only its own results."""

    def __init__(
        self, prepared: Tokenized, spec: EncoderSpec, wanted: Wanted, hidden_size: int, depth: ModelDepth | None = None
    ) -> None:
        """Makes room for the results.

        Args:
            hidden_size: D of the model.
            depth: its layers and heads; None where nothing of them is wanted.

        Raises:
            ModelError: more numbers of an embedding are wanted than the model gives.
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
        self._tokens = WindowTokens(prepared, spec, self._template)
        self._asked: _Asked | None = None
        if wanted.qa is not None and wanted.finds_spans:
            self._asked = _Asked(prepared, wanted.qa, self._tokens if wanted.attribution else None)
        self._pooled: _Pooled | None = None
        beside_answers = wanted.qa is not None
        self._chunks: ChunkVectors | None = None
        self._most_state_tokens = _MOST_STATE_BYTES // (hidden_size * np.dtype(np.float32).itemsize)
        if wanted.embedding is not None and wanted.gives_embeddings:
            check_dimensions(wanted.embedding, hidden_size)
        if wanted.embedding is not None and prepared.chunks is not None:
            self._chunks = ChunkVectors(prepared, prepared.chunks, hidden_size, wanted.embedding)
        elif wanted.embedding is not None and wanted.gives_embeddings:
            pooling = Pooling.plan(prepared, wanted.embedding, self._template, beside_answers)
            self._pooled = _Pooled(prepared, pooling, hidden_size)
        self._states: list[Floats | None] = [None] * len(prepared.windows) if wanted.window_states else []
        self._vectors: TokenVectors | None = None
        if wanted.token_vectors is not None:
            self._vectors = TokenVectors(prepared, wanted.token_vectors, hidden_size)
        self._layers: LayerVectors | None = None
        self._attention: WindowAttention | None = None
        if depth is not None and wanted.layer_vectors:
            pooling = Pooling.plan(prepared, wanted.embedding or EmbeddingParameters(), self._template, beside_answers)
            self._layers = LayerVectors(prepared, pooling, (depth.layers + 1, hidden_size))
        if depth is not None and wanted.attention is not None:
            layers = wanted.attention.layers or tuple(range(1, depth.layers + 1))
            self._attention = WindowAttention(self._tokens, wanted.attention, layers, depth.heads)
        self._probabilities = WindowProbabilities(self._tokens) if wanted.probabilities else None

    @property
    def rounds(self) -> list[Longs]:
        """Positions of the windows in parts, of which a large task has one after the other: it needs less memory so,
        and its answers are merged meanwhile. None where nothing is wanted of the model itself.
        """
        if not self.wanted.outputs:
            return []
        return [np.arange(len(self.lengths))] if self._asked is None else self._asked.rounds

    @cached_property
    def kind(self) -> tuple[object, ...]:
        """Tasks of one kind can share a pass: it is asked for the same of all windows."""
        wanted = self.wanted
        return (
            wanted.outputs,
            None if self._pooled is None else self._pooled.counts,
            wanted.gives_states,
            wanted.layer_vectors,
            wanted.token_vectors and wanted.token_vectors.numbers,
            wanted.attention,
            wanted.attribution,
            wanted.probabilities,
        )

    def merge_complete(self) -> None:
        """Merges the candidates of rounds whose windows have all had their pass, and drops those that do not win."""
        if self._asked is not None:
            self._asked.merge_complete()

    def decoding_work(self, windows: Amount, width: int) -> Amount:
        """What finding the spans of windows costs after their pass, in scores that are compared; 0 without answers."""
        return 0 if self._asked is None else windows * self._asked.work_of_window(width)

    def windows_of_pass(self, chosen: Longs) -> int:
        """How many of the windows at the positions `chosen`, [n], the first ones, a pass may have; at least 1."""
        # Those of other layers than the last come back too, as the mean over them.
        if not self.wanted.gives_states and self.wanted.token_vectors is None:
            return len(chosen)
        tokens = np.arange(1, len(chosen) + 1) * np.maximum.accumulate(self.lengths[chosen]).astype(np.int64)
        return max(int(np.searchsorted(tokens, self._most_state_tokens, side="right")), 1)

    def batch(self, chosen: Longs) -> Batch:
        """The tokens of the windows at the positions `chosen`."""
        return collate(self.prepared, self._template, chosen, self._spec.pad_id, self._spec.uses_type_ids)

    def weigh(self, chosen: Longs, batch: Batch) -> Floats | None:
        """[n, P, S] weights of the tokens in the pooled vectors; None where none are wanted."""
        return None if self._pooled is None else self._pooled.weigh(chosen, batch)

    def max_tokens(self, chosen: Longs, batch: Batch) -> Flags | None:
        """[n, M, S] tokens of which the largest numbers are wanted; None where none are."""
        return None if self._pooled is None else self._pooled.pooling.max_tokens(chosen, batch)

    def layer_request(self, chosen: Longs, batch: Batch) -> LayerRequest | None:
        """What is wanted of the layers, of these windows; None where nothing is."""
        wanted = self.wanted
        if not wanted.needs_layers:
            return None
        numbers = None if wanted.token_vectors is None else wanted.token_vectors.numbers
        weights = None if self._layers is None else self._layers.weigh(chosen, batch)
        rows = None
        if wanted.attribution and wanted.qa is not None:
            rows = answer_rows(self._tokens, chosen, batch, wanted.qa.align_to_words)
        return LayerRequest(numbers or (), weights, wanted.attention, rows)

    def search(self, windows: slice) -> tuple[SpanSearch, ...]:
        """The spans that are wanted of windows of its own, by their places in a pass; none where no answers are, and
        where probabilities are, unless attribution needs the spans on the device.
        """
        if self.wanted.probabilities and not self.wanted.attribution:
            # They are found in the logits, which have to be here anyway.
            return ()
        return () if self._asked is None else (self._asked.search(windows),)

    def keep(self, chosen: Longs, batch: Batch, output: PassOutput) -> None:
        """Takes what a pass gave to these windows.

        Raises:
            NotANumber: the model computes NaN.
        """
        if self._asked is not None:
            self._asked.keep(chosen, batch, output)
        if self._pooled is not None:
            self._pooled.keep(chosen, output)
        if self._chunks is not None and output.hidden is not None:
            checked(self._chunks.keep(chosen, batch, output.hidden))
        if self.wanted.window_states and output.hidden is not None:
            for window, states, length in zip(chosen, output.hidden, batch.lengths, strict=True):
                # A view would hold the whole pass's states for as long as this window's are wanted.
                self._states[window] = checked(states[:length]).copy()
        if self._probabilities is not None:
            if output.start_logits is None or output.end_logits is None:
                raise ModelError("the backend returned no logits")
            self._probabilities.keep(chosen, batch, output.start_logits, output.end_logits)
        self._keep_layers(chosen, batch, output, output.layers or LayerOutput())

    def _keep_layers(self, chosen: Longs, batch: Batch, output: PassOutput, layers: LayerOutput) -> None:
        states = layers.mean_states if layers.mean_states is not None else output.hidden
        if self._vectors is not None and states is not None:
            self._vectors.keep(chosen, batch, states)
        if self._layers is not None and layers.layer_pooled is not None:
            self._layers.keep(chosen, layers.layer_pooled)
        if self._attention is not None and layers.attention is not None:
            self._attention.keep(chosen, layers.attention)

    def results(self) -> Results:
        """What the rows get, once every window has had its pass."""
        wanted, asked = self.wanted, self._asked
        return Results(
            answers=asked.answers() if asked is not None and wanted.gives_answers else None,
            vectors=self._text_vectors(),
            window_states=tuple(s for s in self._states if s is not None) if wanted.window_states else None,
            stats=self.stats,
            token_texts=passage_tokens(self.prepared) if wanted.token_texts else None,
            token_vectors=None if self._vectors is None else self._vectors.column(),
            layer_vectors=None if self._layers is None else self._layers.column(),
            attention=None if self._attention is None else self._attention.column(),
            attribution=asked.attribution() if asked is not None and wanted.attribution else None,
            probabilities=None if self._probabilities is None else self._probabilities.column(),
        )

    def _text_vectors(self) -> tuple[TextVectors, ...]:
        if self._chunks is not None:
            return (TextVectors("passage", "mean", self._chunks.join()[self.prepared.row_owner]),)
        return () if self._pooled is None else self._pooled.join()


class _Asked:
    """Collects the candidates of windows, and merges those of a round into answers when all of its windows are there.

    Only then is it known which candidates cannot win: the same text may come again in any window of its row, and adds
    to the score.
    """

    def __init__(self, prepared: Tokenized, qa: QAParameters, attributed: WindowTokens | None) -> None:
        self._prepared, self._qa, self._tokens = prepared, qa, attributed
        self._k = candidates_wanted(qa.top_k, qa.align_to_words)
        self._owners = _owners_by_round(prepared, self._k, is_attributed=attributed is not None)
        bounds = [np.searchsorted(prepared.windows.owner, (own.start, own.stop)).tolist() for own in self._owners]
        self.rounds: list[Longs] = [np.arange(first, stop) for first, stop in bounds]
        self._had_pass = np.zeros(len(prepared.windows), dtype=bool)
        self._candidates: dict[int, Candidates] = {}
        self._answers: dict[int, Answers] = {}
        self._attributions: dict[int, RoundAttribution] = {}
        self._attributed: dict[int, AnswerAttribution] = {}

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
                self._attribute(number, own, chosen[own] - windows[0], output.layers)

    def _attribute(self, number: int, own: Longs, places: Longs, layers: LayerOutput | None) -> None:
        """Takes what candidates of a round attended to: of the windows `own` of the pass, for `places` of the round."""
        if self._tokens is None:
            return
        if layers is None or layers.attribution is None:
            raise ModelError("the backend returned no attribution")
        if number not in self._attributions:
            self._attributions[number] = RoundAttribution(self.rounds[number], self._k)
        self._attributions[number].keep(places, layers.attribution.of(own))

    def merge_complete(self) -> None:
        for number in [number for number in self._candidates if self._had_pass[self.rounds[number]].all()]:
            self.merge(number)

    def answers(self) -> Answers:
        return Answers.joined([self.merge(number) for number in range(len(self.rounds))])

    def attribution(self) -> pa.ListArray:
        """[R] See `Results`."""
        if self._tokens is None:
            raise ValueError("no attribution is wanted")
        for number in range(len(self.rounds)):
            self.merge(number)
        found = [self._attributed[number] for number in range(len(self.rounds))]
        return AnswerAttribution.joined(found).column(self._tokens)

    def merge(self, number: int) -> Answers:
        """The answers of a round; its candidates are dropped."""
        if number not in self._answers:
            owners, own = self._owners[number], self._prepared
            if len(self.rounds) > 1:
                own = own.of_owners(np.arange(owners.start, owners.stop, dtype=np.int32))
            candidates = self._candidates.pop(number, None) or Candidates.empty(len(own.windows), self._k)
            answers = self._answers[number] = read_answers(own, candidates, self._qa)
            if self._tokens is not None:
                found = self._attributions.pop(number, None) or RoundAttribution(self.rounds[number], self._k)
                self._attributed[number] = found.of_answers(answers.candidate[answers.offsets[:-1]])
            before = int(self.rounds[number][0]) if len(self.rounds[number]) else 0
            answers.candidate[answers.candidate >= 0] += before * self._k
        return self._answers[number]


def _owners_by_round(prepared: Tokenized, k: int, is_attributed: bool) -> list[range]:
    """Owners in parts, so that the windows of each, and k candidates for each window, fit the limits; at least one."""
    owners, parts, first = prepared.owners, list[range](), 0
    before = np.append(prepared.first_windows, len(prepared.windows)) * k
    most = min(_MOST_CANDIDATES // (_ATTRIBUTED if is_attributed else 1), _MOST_WINDOWS * k)
    while first < owners or not parts:
        fits = int(np.searchsorted(before, before[first] + most, side="right")) - 1
        parts.append(range(first, min(max(fits, first + 1), owners)))
        first = parts[-1].stop
    return parts


class _Pooled:
    """Collects the pooled vectors of windows."""

    def __init__(self, prepared: Tokenized, pooling: Pooling, hidden_size: int) -> None:
        self.pooling = pooling
        self._prepared = prepared
        windows, (weighted, largest) = len(prepared.windows), self.counts
        self._sums = np.zeros((windows, weighted, hidden_size), dtype=np.float32)
        self._weights = np.zeros((windows, weighted), dtype=np.float32)
        self._maxima = np.zeros((windows, largest, hidden_size), dtype=np.float32)

    @property
    def counts(self) -> tuple[int, int]:
        """P and M: vectors that are weighted means, and vectors of largest numbers."""
        return len(self.pooling.weighings), len(self.pooling.max_runs)

    def weigh(self, chosen: Longs, batch: Batch) -> Floats | None:
        weights = self.pooling.weights(chosen, batch)
        if weights is not None:
            self._weights[chosen] = weights.sum(axis=-1)
        return weights

    def keep(self, chosen: Longs, output: PassOutput) -> None:
        if output.pooled is not None:
            self._sums[chosen] = checked(output.pooled)
        if output.maxima is not None:
            # Of a window without a token that counts they are -inf.
            self._maxima[chosen] = checked(np.maximum(output.maxima, np.finfo(np.float32).min))

    def join(self) -> tuple[TextVectors, ...]:
        return self.pooling.join(self._prepared, self._sums, self._weights, self._maxima)


def _spans_of(output: PassOutput, batch: Batch, k: int, max_answer_len: int) -> Candidates:
    if output.candidates is not None:
        # Found together with those of other tasks, which may want more.
        found = output.candidates.first(k)
    elif output.start_logits is not None and output.end_logits is not None:
        found = best_spans(output.start_logits, output.end_logits, batch, k, max_answer_len)
    else:
        raise ModelError("the backend returned no logits")
    if (found.start[:, 0] < 0).any():
        raise NotANumber(NOT_A_NUMBER)
    return found
