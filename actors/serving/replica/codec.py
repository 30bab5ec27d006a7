"""The codec of a replica: a request's texts to the windows that the model reads, and its results to a reply."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa

from actors.arrays import Floats
from actors.engine.decoding.answers import Answers
from actors.engine.decoding.compact_vectors import compacted
from actors.engine.decoding.span_decoding import candidates_wanted
from actors.engine.inference_task import InferenceTask, Results, Wanted
from actors.engine.output_columns import OUTPUT_COLUMNS
from actors.errors import TooManyWindows
from actors.serving.parameters import LimitParameters
from actors.serving.types import WINDOWS, Refusal, Refused, Reply, Request, Span, Timing
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import Rejected, Rejection, embedding_window_size, prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Tokenized

_CANDIDATES = 64
"""Candidates kept of a window, up to which `limits.max_windows` holds as it is."""
_REJECTED = {
    Rejection.NO_TOKENS: "holds nothing that the tokenizer knows; leave it out",
    Rejection.QUESTION_TOO_LONG: "has a question that leaves no room for its passage; shorten it, or set "
    "max_question_len",
}


def encode(spec: EncoderSpec, request: Request, limits: LimitParameters) -> Tokenized:
    """Tokenises the texts of a request, and cuts them into windows.

    Raises:
        Refused: a row cannot be cut into windows or is longer than the request allows, or a limit is passed.
        ModelError: the parameters do not fit the model.
    """
    most = _max_windows(request, limits)
    try:
        tokenized, rejected = _cut(spec, request, most)
    except TooManyWindows as many:
        raise Refused(_too_many_windows(many.windows, request, most)) from many
    if len(rejected.rows):
        row = int(rejected.rows[0])
        raise Refused(Refusal(422, rejected.reasons[0].value, f"input {row} {_REJECTED[rejected.reasons[0]]}"))
    if request.task != "answer" and request.long_texts != "window":
        tokenized = _one_window_each(spec, tokenized, request)
    if request.task == "tokens":
        _check_token_vectors(tokenized, limits.max_token_vectors)
    return tokenized


def wanted_by(request: Request) -> Wanted:
    """What the request asks of the model."""
    if request.task == "embed":
        return Wanted(embedding=request.embedding)
    if request.task == "tokens":
        return Wanted(window_states=True)
    columns, names = request.columns, request.columns.names
    return Wanted(
        qa=request.qa if request.task == "answer" else None,
        embedding=None if {"embedding", "hidden"}.isdisjoint(names) else request.embedding,
        embeddings="embedding" in names,
        token_texts="tokens" in names,
        token_vectors=columns.token_vectors if "token_vectors" in names else None,
        layer_vectors="hidden" in names,
        attention=columns.attention if "attention" in names else None,
        attribution="attribution" in names,
        probabilities=columns.probabilities,
    )


def decode(results: Results, task: InferenceTask, timing: Timing, request: Request) -> Reply:
    """The reply to a request, from the results of its task."""
    prepared, tokens = task.prepared, _tokens_per_row(task)
    if request.task == "encode":
        return Reply(tokens, timing, columns=_columns(results, task.wanted))
    if results.answers is not None:
        null_scores = tuple(results.answers.null_score.tolist())
        columns = _columns(results, task.wanted)
        return Reply(tokens, timing, spans=_spans(results.answers), null_scores=null_scores, columns=columns)
    if results.window_states is not None:
        return Reply(tokens, timing, token_embeddings=_by_row(results.window_states, prepared))
    embeddings = results.embeddings
    if embeddings is not None:
        embeddings = compacted(embeddings, request.embedding)
        if embeddings.dtype == np.float16:
            embeddings = embeddings.astype(np.float32)
    return Reply(tokens, timing, embeddings=embeddings)


def _cut(spec: EncoderSpec, request: Request, max_windows: int) -> tuple[Tokenized, Rejected]:
    texts, keep = pa.array(request.texts, pa.string()), wanted_by(request).needs_texts
    if request.task == "answer":
        return prepare_pairs(spec, request.qa, pa.array(request.questions, pa.string()), texts, max_windows, keep)
    return prepare_texts(spec, request.embedding, texts, max_windows, keep)


def _max_windows(request: Request, limits: LimitParameters) -> int:
    # The candidates of all windows are kept until the last window had its pass, so more of them leave room for fewer.
    if request.task != "answer":
        return limits.max_windows
    kept = candidates_wanted(request.qa.top_k, request.qa.align_to_words)
    return max(limits.max_windows * _CANDIDATES // max(kept, _CANDIDATES), 1)


def _too_many_windows(windows: int, request: Request, most: int) -> Refusal:
    lower = " or lower top_k" if request.task == "answer" and request.qa.top_k > 1 else ""
    return Refusal(
        413,
        "too_many_windows",
        f"the texts would be cut into {windows:,} windows, and {most:,} are the most at once (limits.max_windows); "
        f"send fewer or shorter texts, or raise max_seq_len{lower}",
    )


def _one_window_each(spec: EncoderSpec, tokenized: Tokenized, request: Request) -> Tokenized:
    """Leaves the first window of every text, or refuses the request where a text has more than one."""
    windows = tokenized.windows
    first = windows.first == 0
    if first.all():
        return tokenized
    if request.long_texts == "refuse":
        owner = int(windows.owner[~first][0])
        row = int(np.flatnonzero(tokenized.row_owner == owner)[0])
        text = int(windows.passage[windows.owner == owner][0])
        tokens = int(tokenized.passage.lengths[text]) + spec.single.specials
        limit = embedding_window_size(spec, request.embedding).max_seq_len
        raise Refused(
            Refusal(413, "too_long", f"input {row} has {tokens} tokens, the model takes {limit}; shorten or cut it")
        )
    kept = {name: getattr(windows, name)[first] for name in vars(windows)}
    return replace(tokenized, windows=type(windows)(**kept))


def _check_token_vectors(tokenized: Tokenized, most: int) -> None:
    windows = tokenized.windows
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


def _tokens_per_row(task: InferenceTask) -> tuple[int, ...]:
    prepared = task.prepared
    per_owner = np.bincount(prepared.windows.owner, weights=task.lengths)
    return tuple(int(n) for n in per_owner[prepared.row_owner])


def _spans(answers: Answers) -> tuple[tuple[Span, ...], ...]:
    fields = (answers.text.to_pylist(), answers.score.tolist(), answers.start.tolist(), answers.end.tolist())
    spans = [Span(*values) for values in zip(*fields, strict=True)]
    bounds = answers.offsets.tolist()
    return tuple(tuple(spans[a:b]) for a, b in pairwise(bounds))


def _columns(results: Results, wanted: Wanted) -> pa.Buffer | None:
    """See `Reply.columns`."""
    columns = [column for column in OUTPUT_COLUMNS if column.is_wanted(replace(wanted, answers=False))]
    values = {column.name: column.values(results, wanted) for column in columns}
    if results.probabilities is not None:
        values[WINDOWS] = results.probabilities
    if not values:
        return None
    table = pa.table(values)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _by_row(windows: tuple[Floats, ...], prepared: Tokenized) -> tuple[Floats, ...]:
    owner = prepared.windows.owner
    texts = [np.concatenate([windows[i] for i in np.flatnonzero(owner == one)]) for one in range(prepared.owners)]
    return tuple(texts[one] for one in prepared.row_owner)
