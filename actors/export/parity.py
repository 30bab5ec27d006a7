"""How far a form is from torch in float32: on windows that never change, and in the answers of a sample of rows."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from actors.arrays import Doubles, Floats, Ints, Longs
from actors.backends.base import TRANSFORMERS_WEIGHTS, Backend, ModelOutput, PassOutput
from actors.backends.converted.conversion_cache import names_head
from actors.backends.converted.parity import Deviation, TrialBatches, deviation, exact_outputs, trial_outputs
from actors.backends.fingerprint import content_fingerprint
from actors.engine.decoding.answers import Answers
from actors.engine.engine import Engine
from actors.errors import ModelError, first_line
from actors.export.form import ExportForm, ExportTools
from actors.models.loading import load_backend, load_spec
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Tokenized

_MOST_SECONDS = 300.0
"""A form that would take longer for the sample, by its speed on the fixed windows, gets the first rows of it only."""
_QA, _EMBEDDING = QAParameters(), EmbeddingParameters()


@dataclass(frozen=True)
class Parity:
    """What a comparison with torch in float32 found. What a form or a model does not give is None."""

    hidden: float | None
    """As in `Deviation`: of the last hidden states, on the fixed windows."""
    logits: float | None
    """As in `Deviation`."""
    largest_logit: float | None
    """As `Deviation.largest`."""
    least_cosine: float | None
    """Of the mean-pooled vector of a passage and the exact one, over the rows."""
    equal_spans: float | None
    """Share of the rows, 0 to 1, whose best answer begins and ends where torch's does."""
    f1: float | None
    """Of the best answers of the rows that have gold ones, in percent."""
    exact_f1: float | None
    """The same of torch, on the same rows."""
    rows: int
    """Rows of the sample that were compared; 0 of a form that was off too far on the fixed windows already."""
    rows_per_second: float | None
    """That the form answers in the engine (embeds, where the model has no QA head), once loaded and warm."""

    @property
    def deviation(self) -> Deviation:
        """What its tolerance is about."""
        hidden, logits, largest = (
            0.0 if value is None else value for value in (self.hidden, self.logits, self.largest_logit)
        )
        return Deviation(hidden, logits, largest)


@dataclass(frozen=True)
class ParitySample:
    """Rows whose answers and vectors are compared. It keeps what torch computed of them, for all forms of a model."""

    questions: tuple[str, ...] = ()
    """[R]; R may be 0: then the fixed windows are all that is compared."""
    passages: tuple[str, ...] = ()
    """[R]"""
    gold: tuple[tuple[str, ...], ...] = ()
    """[R] right answers, none of a row that has none; or no rows at all, where none are known."""
    score: Callable[[str | None, Sequence[str]], float] | None = None
    """F1 of an answer, 0.0 to 1.0, by some of the right ones; None where that is not asked."""
    _exact: dict[tuple[object, ...], "_Exact"] = field(default_factory=dict, init=False, repr=False, compare=False)

    def exact(self, folder: Path, threads: int | None) -> "_Exact":
        """What torch computes in float32 of the fixed windows and the rows; once for a folder's weights."""
        key = folder.resolve(), content_fingerprint(folder, TRANSFORMERS_WEIGHTS), threads
        if key not in self._exact:
            self._exact[key] = _compute_exact(folder, self, threads)
        return self._exact[key]


@dataclass(frozen=True)
class _RowResults:
    """What an engine gives of n rows."""

    start: Ints
    """[n] code points; -1 without an answer."""
    end: Ints
    """[n]"""
    text: list[str | None]
    """[n]"""
    vectors: Floats | None
    """[n, D] of length 1."""
    seconds: float
    """For the answers; for the vectors where there are none."""


@dataclass(frozen=True)
class _Exact:
    """What a form is compared with."""

    has_head: bool
    batches: TrialBatches
    outputs: list[PassOutput]
    chosen: Longs
    """[n] the rows that can be cut into windows."""
    tokens: Longs
    """[n] of the windows of each of them."""
    results: _RowResults
    """Of these rows."""


def check_form(
    form: ExportForm,
    output: Path,
    precision: str,
    tools: ExportTools,
    sample: ParitySample,
    original: Path | None = None,
) -> Parity:
    """Opens a form and makes sure that it computes what torch does in float32.

    Args:
        output: an exported folder: config, tokenizer and safetensors, and the files of the form.
        original: the folder of the model that torch computes; None for `output` itself, by the safetensors in it.

    Raises:
        ModelError: it cannot be opened or computed, or is off by more than `form.tolerances[precision]`.
    """
    found = measure_form(form, output, precision, tools, sample, original)
    most = form.tolerances[precision]
    if found.deviation.exceeds(most):
        raise ModelError(
            f"{output}: {form.name} in {precision} is too far from torch in float32: {found.deviation}; allowed are "
            f"{most}. Leave {form.name} out of --formats, or {precision} out of --precision"
        )
    return found


def measure_form(
    form: ExportForm,
    output: Path,
    precision: str,
    tools: ExportTools,
    sample: ParitySample,
    original: Path | None = None,
) -> Parity:
    """As `check_form`, but a form that is off too far is measured as well, on the fixed windows alone.

    Raises:
        ModelError: it cannot be opened or computed, or gives neither logits nor hidden states.
    """
    exact = sample.exact(original or output, tools.threads)
    try:
        # Windows are cut as users of the folder cut them: by the tokenizer that lies in it.
        backend, spec = form.open(output, precision, tools), load_spec(output)
        return _measured(backend, spec, form.tolerances[precision], exact, sample)
    except Exception as error:  # each runtime raises its own kinds
        raise ModelError(
            f"{output}: {form.name} in {precision} cannot be compared with torch: {first_line(error)}"
        ) from error


def _measured(backend: Backend, spec: EncoderSpec, most: Deviation, exact: _Exact, sample: ParitySample) -> Parity:
    began = time.perf_counter()
    outputs = trial_outputs(backend, exact.batches, exact.has_head)
    per_token = (time.perf_counter() - began) / exact.batches.tokens
    has_hidden = all(output.hidden is not None for output in outputs)
    if not (has_hidden or exact.has_head):
        raise ModelError("it gives neither logits nor hidden states")
    off = deviation(outputs, exact.outputs, exact.has_head, has_hidden)
    rows = 0 if off.exceeds(most) else _affordable(exact.tokens, per_token)
    compared = _compare(backend, spec, exact, rows, sample, has_hidden) if rows else _RowsCompared()
    return Parity(
        hidden=off.hidden if has_hidden else None,
        logits=off.logits if exact.has_head else None,
        largest_logit=off.largest if exact.has_head else None,
        least_cosine=compared.least_cosine,
        equal_spans=compared.equal_spans,
        f1=compared.f1,
        exact_f1=compared.exact_f1,
        rows=rows,
        rows_per_second=compared.rows_per_second,
    )


@dataclass(frozen=True)
class _RowsCompared:
    least_cosine: float | None = None
    equal_spans: float | None = None
    f1: float | None = None
    exact_f1: float | None = None
    rows_per_second: float | None = None


def _compare(
    backend: Backend, spec: EncoderSpec, exact: _Exact, rows: int, sample: ParitySample, has_hidden: bool
) -> _RowsCompared:
    chosen, own = exact.chosen[:rows], exact.results
    found = _results(backend, spec, sample, chosen, exact.has_head, has_hidden)
    cosine = equal = f1 = exact_f1 = None
    if found.vectors is not None and own.vectors is not None:
        cosine = float(np.einsum("nd,nd->n", found.vectors, own.vectors[:rows], dtype=np.float64).min())
    if exact.has_head:
        equal = float(((found.start == own.start[:rows]) & (found.end == own.end[:rows])).mean())
        f1, exact_f1 = (_f1(text, chosen, sample) for text in (found.text, own.text[:rows]))
    return _RowsCompared(cosine, equal, f1, exact_f1, rows / max(found.seconds, 1e-9))


def _compute_exact(folder: Path, sample: ParitySample, threads: int | None) -> _Exact:
    has_head, count = names_head(folder), len(sample.questions)
    backend = load_backend(folder, ModelParameters(device="cpu", precision="exact", threads=threads), has_head)
    batches, spec = TrialBatches.of_model(folder, every_pair=True), load_spec(folder)
    outputs = exact_outputs(backend, batches, has_head)
    chosen, tokens = _choose(spec, sample, has_head) if count else (np.zeros(0, np.int64), np.zeros(0, np.int64))
    results = _results(backend, spec, sample, chosen, has_head, with_vectors=True)
    return _Exact(has_head, batches, outputs, chosen, tokens, results)


def _choose(spec: EncoderSpec, sample: ParitySample, has_head: bool) -> tuple[Longs, Longs]:
    """The rows that can be cut into windows, and the tokens of each."""
    rows = np.arange(len(sample.questions))
    prepared, rejected = _prepared(spec, sample, rows, has_head)
    lengths = prepared.lengths((spec.pair if has_head else spec.single).specials)
    # Rows of one passage share an owner where there is no question.
    tokens = np.bincount(prepared.windows.owner, lengths, prepared.owners)[prepared.row_owner]
    return np.setdiff1d(rows, rejected), tokens.astype(np.int64)


def _prepared(spec: EncoderSpec, sample: ParitySample, rows: Longs, has_head: bool) -> tuple[Tokenized, Longs]:
    """Windows of the rows that can be cut, and the positions of the others."""
    questions, passages = _strings(sample.questions, rows), _strings(sample.passages, rows)
    if has_head:
        prepared, rejected = prepare_pairs(spec, _QA, questions, passages)
    else:
        prepared, rejected = prepare_texts(spec, _EMBEDDING, passages)
    return prepared, rejected.rows.astype(np.int64)


def _strings(texts: Sequence[str], rows: Longs) -> pa.StringArray:
    return pa.array([texts[row] for row in rows], type=pa.string())


def _results(
    backend: Backend, spec: EncoderSpec, sample: ParitySample, rows: Longs, has_head: bool, with_vectors: bool
) -> _RowResults:
    """Answers and vectors of rows that can be cut, by an engine that has not learnt anything yet."""
    given = {ModelOutput.LOGITS: has_head, ModelOutput.POOLED: with_vectors}
    outputs = frozenset(output for output, is_given in given.items() if is_given)
    engine = Engine(backend, spec, BatchingParameters(), outputs=outputs)
    start, end, text = _first_answers(None, len(rows))
    vectors, seconds = None, 0.0
    if has_head and len(rows):
        prepared, _ = _prepared(spec, sample, rows, has_head=True)
        began = time.perf_counter()
        answers = engine.answer(prepared, _QA).answers
        seconds = time.perf_counter() - began
        start, end, text = _first_answers(answers, len(rows))
    if with_vectors and len(rows):
        prepared, _ = _prepared(spec, sample, rows, has_head=False)
        began = time.perf_counter()
        vectors = engine.embed(prepared, _EMBEDDING).embeddings
        seconds = seconds or time.perf_counter() - began
    return _RowResults(start, end, text, vectors, seconds)


def _first_answers(answers: Answers | None, rows: int) -> tuple[Ints, Ints, list[str | None]]:
    """Start, end and text of the best answer of each row; -1, -1 and None of one that has none."""
    start, end = np.full(rows, -1, np.int32), np.full(rows, -1, np.int32)
    if answers is None:
        return start, end, [None] * rows
    has_one = np.diff(answers.offsets) > 0
    first = answers.offsets[:-1][has_one]
    start[has_one], end[has_one] = answers.start[first], answers.end[first]
    text = np.full(rows, None, dtype=object)
    text[has_one] = np.array(answers.text.take(pa.array(first)).to_pylist(), dtype=object)
    return start, end, text.tolist()


def _affordable(tokens: Longs, seconds_per_token: float) -> int:
    """How many of the first rows answers and vectors are wanted of; one at least, where there is one."""
    seconds = 2 * seconds_per_token * np.cumsum(tokens)
    return max(int(np.searchsorted(seconds, _MOST_SECONDS, side="right")), min(len(tokens), 1))


def _f1(answers: Sequence[str | None], rows: Longs, sample: ParitySample) -> float | None:
    if sample.score is None or not sample.gold:
        return None
    pairs = zip(answers, (sample.gold[row] for row in rows), strict=True)
    scores: Doubles = np.array([sample.score(answer, gold) for answer, gold in pairs if gold], dtype=np.float64)
    return 100.0 * float(scores.mean()) if len(scores) else None
