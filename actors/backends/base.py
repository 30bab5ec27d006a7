"""What a runtime is: the description that is known before a model is loaded, and the loaded model."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from actors.arrays import Flags, Floats
from actors.backends.layer_output import LayerOutput, LayerRequest, ModelDepth
from actors.backends.precision import EXACT, FastPrecision
from actors.batch import Batch
from actors.candidates import Candidates, SpanSearch
from actors.errors import ModelError
from actors.parameters import ModelParameters
from actors.registry import RUNTIMES, find_instance

TRANSFORMERS_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
"""The weight files that transformers writes; where there are safetensors, it reads no other."""


class ModelOutput(Enum):
    """What a forward pass can give; the value is its name in messages."""

    LOGITS = "logits"
    """Start and end logits of every token."""
    POOLED = "pooled vectors"
    """Weighted sums of the last hidden states."""
    LAST_HIDDEN = "last hidden states"
    ALL_HIDDEN = "the hidden states of all layers"
    ATTENTION = "attention"


class BatchLayout(Enum):
    """How the windows of a pass lie on the device while they are computed."""

    PADDED = "padded"
    """[n, S]: a row for each window, padded on the right to the longest. Padding costs as much as tokens."""
    PACKED = "packed"
    """[T]: the windows end to end, without padding."""


@dataclass(frozen=True)
class PassRequest:
    """What a forward pass is asked for."""

    batch: Batch
    want_spans: bool = False
    """Whether start and end logits are needed, or what `searches` find in them."""
    pool_weights: Floats | None = None
    """[n, P, S] weights of the last hidden states in P pooled vectors; None when no weighted mean is needed."""
    want_hidden: bool = False
    """Whether the last hidden states themselves are needed."""
    searches: tuple[SpanSearch, ...] = ()
    """The spans that are wanted, of all windows of the batch. A backend may find them itself, where the logits are, and
    give them in place of the logits."""
    max_tokens: Flags | None = None
    """[n, M, S] tokens over whose last hidden states the largest numbers are wanted; None when none are needed."""
    layers: LayerRequest | None = None
    """What is needed of the layers below the last and of attention; None where nothing is."""
    want_logits: bool = False
    """Whether the logits are needed even where `searches` are answered; with `layers` alone."""


@dataclass(frozen=True)
class PassOutput:
    """What one forward pass gives back, on the host."""

    start_logits: Floats | None
    """[n, S]; None when no answers were asked for."""
    end_logits: Floats | None
    """[n, S]; None when no answers were asked for."""
    pooled: Floats | None
    """[n, P, D] weighted sums of the last hidden states; None when no weights were given."""
    peak_bytes: int | None
    """Most memory the pass held beyond the weights; None where the device does not say."""
    hidden: Floats | None = None
    """[n, S, D] last hidden states; None when they were not asked for."""
    candidates: Candidates | None = None
    """What the searches found, n windows of it; None where the logits are given for it."""
    seconds: float = 0.0
    """Time that the device spent on the pass."""
    maxima: Floats | None = None
    """[n, M, D] largest number of the tokens in each dimension, -inf where there is no token; None when not asked."""
    layers: LayerOutput | None = None
    """What `PassRequest.layers` asked for."""

    def part(self, rows: slice, width: int) -> "PassOutput":
        """What some windows got, cut to a width that holds all of their tokens."""
        start, end, hidden = (
            None if values is None else values[rows, :width]
            for values in (self.start_logits, self.end_logits, self.hidden)
        )
        pooled, maxima = (None if values is None else values[rows] for values in (self.pooled, self.maxima))
        found = None if self.candidates is None else self.candidates.part(rows)
        layers = None if self.layers is None else self.layers.part(rows, width)
        return PassOutput(start, end, pooled, self.peak_bytes, hidden, found, self.seconds, maxima, layers)


class SubmittedPass(Protocol):
    """A pass that the device has, or will have when it is done with those before."""

    @property
    def is_done(self) -> bool:
        """Whether `collect` would not wait."""
        ...

    def collect(self) -> PassOutput:
        """Waits for the device, and gives what came back; to be called once.

        Raises:
            OutOfMemory: the batch does not fit; nothing is left allocated.
            DeviceLost: no further pass can succeed. Other errors are looked at by `device_errors` as well, and one
                after which a pass of one token fails too counts as this.
        """
        ...


class Backend(Protocol):
    """A loaded model on one device."""

    @property
    def device(self) -> str:
        """Where passes run: "cpu", "cuda", "cuda:1"."""
        ...

    @property
    def layout(self) -> BatchLayout:
        """How it lays out the windows of a batch: what a pass is predicted to cost follows from that."""
        ...

    @property
    def hidden_size(self) -> int:
        """D, the width of an embedding."""
        ...

    @property
    def memory_limit(self) -> int | None:
        """Bytes that are free for a pass; None where the device does not say."""
        ...

    def submit(self, request: PassRequest) -> SubmittedPass:
        """Hands the device a pass, and returns before it is computed where the device works beside its caller.

        Passes are computed in the order in which they are submitted. Whatever goes wrong is raised by `collect`.
        """
        ...

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        """Runs a pass, and waits for it; see `PassRequest` and `SubmittedPass.collect`."""
        ...


@runtime_checkable
class GivesLayers(Protocol):
    """A backend whose model can be asked for what goes on in its layers."""

    @property
    def depth(self) -> ModelDepth:
        """Layers and heads of the model."""
        ...

    def with_layers(self) -> Backend:
        """The same weights on the same device, in passes that give all of `ModelOutput`; they are slower.

        Raises:
            ModelError: the model gives no such outputs.
        """
        ...


class SynchronousBackend:
    """For a backend whose device is the thread that calls: it has `forward`, and a submitted pass is one that ran.

    Largest numbers of tokens are found here, in the hidden states that `forward` gives for it.
    """

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        """Runs a pass; see `Backend.forward`."""
        raise NotImplementedError

    def submit(self, request: PassRequest) -> SubmittedPass:
        """Runs the pass; calls come from one thread at a time."""
        started, counted = time.perf_counter(), request.max_tokens
        want_hidden = request.want_hidden or counted is not None
        try:
            output = self.forward(request.batch, request.want_spans, request.pool_weights, want_hidden)
            if counted is not None and output.hidden is not None:
                hidden = output.hidden if request.want_hidden else None
                output = replace(output, hidden=hidden, maxima=_largest(output.hidden, counted))
        except Exception as error:
            return RanPass(error)
        return RanPass(replace(output, seconds=time.perf_counter() - started))


def _largest(states: Floats, counted: Flags) -> Floats:
    """[n, M, D] of [n, S, D] and [n, M, S]."""
    none = np.float32(-np.inf)
    maxima = [states.max(axis=1, where=one[:, :, None], initial=none) for one in np.moveaxis(counted, 1, 0)]
    return np.stack(maxima, axis=1)


@dataclass(frozen=True)
class RanPass:
    """A pass of which all is known when it is submitted: what came of it, or why it failed."""

    outcome: PassOutput | Exception
    is_done = True

    def collect(self) -> PassOutput:
        """See `SubmittedPass`."""
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@dataclass(frozen=True)
class Runtime:
    """What is known of a runtime before a model is loaded; small, and imported without the runtime's own packages."""

    name: str
    """For messages."""
    load: Callable[[Path, ModelParameters, bool], Backend]
    """The model of a folder, ready for a pass. The third argument says whether its QA head is needed. Raises ModelError
    where weights are missing or broken, or there is no QA head. Heavy packages are imported in here."""
    weights: tuple[str, ...]
    """Patterns of weight files directly in the model folder, best first. Those of the first pattern that matches any
    are what `load` reads, and what the model's fingerprint follows. All of them are downloaded, unless the first is of
    safetensors, and there is `model.safetensors`, whole or in parts."""
    outputs: frozenset[ModelOutput]
    """What its passes can give."""
    runs_on_cpu: bool = True
    """False where it needs another device: a driver, which tries the model before a job, then needs one as well."""
    fast: FastPrecision | None = None
    """Who chooses what `model.precision: fast` is; None where its passes know float32 only."""
    dtypes: frozenset[str] = frozenset({EXACT})
    """Values of `model.dtype` that it computes in."""
    packages: tuple[str, ...] = ()
    """Modules that have to be importable before `load` is called, beside what Spanmill always needs."""
    convert_only: frozenset[str] = frozenset()
    """Those of its packages without which it loads a model that is converted already."""
    exported: str | None = None
    """The form of `spanmill export` that it reads; where a model folder has that in the precision that is wanted, the
    files of it are downloaded with the weights. None where it reads nothing but the weights."""
    extra: str = ""
    """The optional extra of Spanmill that installs them."""
    is_ready: Callable[[Path, str], bool] = lambda folder, dtype: True
    """Whether `load` of a folder's model in a value of `model.dtype` has nothing left to convert, and so takes
    seconds. Only to be asked where it is installed; it reads the whole model for its fingerprint."""
    conversion_seconds: float = 0.0
    """What `load` takes where it has to convert a small model first, about: `model.backend: auto` looks whether a job
    is long enough to try that."""

    @property
    def missing_packages(self) -> list[str]:
        """Those of its packages that are not installed here; none is imported."""
        return [package for package in self.packages if find_spec(package) is None]

    @property
    def is_installed(self) -> bool:
        """Whether the packages are there that load a converted model."""
        return set(self.missing_packages) <= self.convert_only

    def can_load(self, folder: Path, dtype: str) -> bool:
        """Whether the packages are there that a folder's model in a value of `model.dtype` takes."""
        return self.is_installed and (not self.missing_packages or self.is_ready(folder, dtype))

    def check_installed(self) -> None:
        """Raises ModelError, which says what to install, where packages are missing that load a converted model."""
        missing = [package for package in self.missing_packages if package not in self.convert_only]
        if missing:
            raise ModelError(
                f"model.backend: {self.name} needs {', '.join(missing)}, which is not installed here; "
                f"install it with pip install 'spanmill[{self.extra}]'"
            )

    def check_can_load(self, folder: Path, dtype: str) -> None:
        """Raises ModelError, which says what to install, where packages are missing that have to convert the model."""
        missing = self.missing_packages
        if missing and not self.can_load(folder, dtype):
            raise ModelError(
                f"model.backend: {self.name} needs {', '.join(missing)} to convert {folder}, which is not installed "
                f"here; install it with pip install 'spanmill[{self.extra}]', or convert the model elsewhere by "
                "spanmill export"
            )

    def check_dtype(self, dtype: str) -> None:
        """Raises ModelError where it does not compute in a value of `model.dtype`."""
        if dtype not in self.dtypes:
            raise ModelError(
                f"model.dtype: {dtype} is nothing that the runtime {self.name} computes in; it knows "
                f"{', '.join(sorted(self.dtypes))}"
            )


def find_runtime(name: str) -> Runtime:
    """The runtime that a value of `model.backend` names.

    Raises:
        ModelError: there is none of this name, or it cannot be imported.
    """
    try:
        return find_instance(RUNTIMES, name, "model.backend", Runtime)
    except LookupError as error:
        raise ModelError(str(error)) from error


def check_outputs(wanted: frozenset[ModelOutput], given: frozenset[ModelOutput]) -> None:
    """Raises ModelError where something is wanted that a loaded model cannot give."""
    missing = wanted - given
    if missing:
        raise ModelError(
            f"{_names(missing)} cannot be had of this model as it is loaded, only {_names(given) or 'nothing'}; "
            f"choose another model.backend{_or_else(missing)}"
        )


def _or_else(missing: frozenset[ModelOutput]) -> str:
    """What to ask for instead of outputs that few runtimes have."""
    if ModelOutput.ATTENTION in missing:
        return " (torch has it), or leave attention and attribution out of output.columns"
    if ModelOutput.ALL_HIDDEN in missing:
        return " (torch has them), or leave hidden out of output.columns and token_vectors.layers at last"
    return ""


def _names(outputs: frozenset[ModelOutput]) -> str:
    return ", ".join(output.value for output in ModelOutput if output in outputs)
