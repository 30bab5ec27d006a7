"""`model.backend: auto`: what it may choose between, what it chose, and what it takes where nothing is measured."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from actors.backends.base import ModelOutput, Runtime, find_runtime
from actors.backends.precision import EXACT
from actors.errors import ModelError, first_line
from actors.models import runtime_cache
from actors.models.hub import find_model, fingerprint
from actors.models.precision import choose_precision, decided_precision
from actors.parameters import ModelParameters
from actors.registry import RUNTIMES

_LOG = logging.getLogger("spanmill.runtime")

BASELINE = "torch"
"""The runtime that stays where nothing is known to be faster, and whose weights the built-in ones read."""


@dataclass(frozen=True)
class Candidate:
    """A runtime, and a type in which it may compute the model."""

    backend: str
    """As in `model.backend`."""
    dtype: str

    def __str__(self) -> str:
        return f"{self.backend} {self.dtype}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`, as manifests keep it."""
        backend, _, dtype = text.rpartition(" ")
        return cls(backend, dtype)

    def of(self, model: ModelParameters) -> ModelParameters:
        """The model in this runtime and type."""
        return model.in_type(self.dtype).model_copy(update={"backend": self.backend})


@dataclass(frozen=True)
class Measurement:
    """What became of one candidate."""

    runtime: str
    """A `Candidate`, as text."""
    actors: int = 1
    """That computed at the same time, on one machine or one GPU."""
    threads: int | None = None
    """CPU threads of each."""
    tokens_per_second: float | None = None
    """Of all these actors together; None where it was not measured."""
    start_seconds: float | None = None
    """Until it was ready: imports, the conversion where there was none, and loading."""
    verdict: str = ""
    """Why it is taken, or not."""


@dataclass(frozen=True)
class RuntimeChoice:
    """What `auto` comes to."""

    backend: str
    dtype: str
    reason: str
    """For people."""
    actors: int = 1
    """Model actors on one machine without GPUs, or on one GPU, where `pool.size` leaves it open."""
    measurements: tuple[Measurement, ...] = ()
    seconds: float = 0.0
    """That measuring took."""
    most_seconds: float = 0.0
    """That it might take."""
    windows: int = 0
    """On which each candidate was measured at a time."""
    is_open: bool = False
    """Whether measuring could still change it."""
    is_remembered: bool = False
    """Whether it was measured for an earlier job, so that nobody knows whether it can still be loaded."""

    @property
    def candidate(self) -> Candidate:
        """Runtime and type."""
        return Candidate(self.backend, self.dtype)

    def __str__(self) -> str:
        side_by_side = f", {self.actors} actors side by side" if self.actors > 1 else ""
        return f"{self.candidate}{side_by_side}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """What a manifest keeps of it."""
        return {name: value for name, value in asdict(self).items() if name not in ("is_open", "is_remembered")}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            TypeError: it is something else.
        """
        known = {field.name for field in fields(cls)} - {"measurements"}
        told = [Measurement(**one) for one in kept["measurements"]]
        return cls(**{name: value for name, value in kept.items() if name in known}, measurements=tuple(told))


def compared_runtimes() -> tuple[str, ...]:
    """The built-in runtimes that compute, `torch` first."""
    return tuple(name for name in RUNTIMES if name != "null")


def candidates(
    folder: Path,
    model: ModelParameters,
    wanted: frozenset[ModelOutput],
    on_gpu: bool,
    names: Iterable[str] | None = None,
) -> list[Candidate]:
    """What this machine can compute the model in, as its precision allows; `torch` first.

    Args:
        folder: of the model.
        model: with `backend: auto`; its precision decides: exact is float32, as is auto on CPUs; fast is what each
            runtime chooses for it, and float32, which may be faster all the same.
        wanted: outputs that a runtime must have.
        on_gpu: whether those who compute have GPUs.
        names: of the runtimes, as in `model.backend`; None for `compared_runtimes`.

    Raises:
        ModelError: the model cannot be read.
    """
    found = []
    for name in compared_runtimes() if names is None else names:
        runtime = find_runtime(name)
        if runtime.is_installed and wanted <= runtime.outputs and (not on_gpu or _is_for_gpus(runtime)):
            types = _types(runtime, folder, model, on_gpu)
            found += [Candidate(name, dtype) for dtype in types if runtime.can_load(folder, dtype)]
    return found


def missing_extras(names: Iterable[str] | None = None) -> list[str]:
    """Extras of Spanmill that would bring more runtimes to compare."""
    runtimes = [find_runtime(name) for name in (compared_runtimes() if names is None else names)]
    return sorted({runtime.extra for runtime in runtimes if runtime.extra and runtime.missing_packages})


def settled_without_measuring(
    model: ModelParameters, wanted: frozenset[ModelOutput], on_gpu: bool, names: Sequence[str] | None = None
) -> RuntimeChoice:
    """The choice of whoever cannot measure, or has not yet: the last one on a machine such as this, else torch.

    Args:
        wanted: outputs that the runtime must have.
        on_gpu: whether those who compute have GPUs.
        names: as in `candidates`.

    Raises:
        ModelError: the model cannot be found, or no installed runtime computes it in `model.dtype`.
    """
    folder = find_model(as_baseline(model))
    found = candidates(folder, model, wanted, on_gpu, names)
    if not found:
        more = " or ".join(f"pip install 'spanmill[{extra}]'" for extra in missing_extras(names))
        asked = f" in {model.dtype}" if model.dtype else ""
        raise ModelError(
            f"model.backend: auto finds no installed runtime that computes this{asked}; leave model.dtype out"
            + (f", or install one: {more}" if more else "")
        )
    runtimes = {candidate.backend for candidate in found}
    kept = recalled(folder, model, on_gpu, found)
    if kept is not None:
        return replace(kept, is_open=len(runtimes) > 1)
    if len(runtimes) == 1:
        more = ", ".join(missing_extras(names))
        more = f"; the extras {more} bring more runtimes" if more else ""
        return replace(_first(folder, model, found, on_gpu), reason=f"nothing to compare it with is installed{more}")
    return replace(_first(folder, model, found, on_gpu), is_open=True)


def in_place_of(
    choice: RuntimeChoice,
    error: Exception,
    model: ModelParameters,
    wanted: frozenset[ModelOutput],
    on_gpu: bool,
    names: Iterable[str] | None = None,
) -> RuntimeChoice:
    """What is taken where a remembered choice cannot be loaded: torch. A warning says why.

    The choice stays remembered: once what is wrong with it is mended, it counts again.

    Args:
        error: that loading it raised.
        model, wanted, on_gpu, names: as in `candidates`.

    Raises:
        ModelError: no other runtime computes the model in `model.dtype`.
    """
    folder = find_model(as_baseline(model))
    others = [name for name in (compared_runtimes() if names is None else names) if name != choice.backend]
    found = candidates(folder, model, wanted, on_gpu, others)
    why = f"{choice.candidate}, which was chosen before, cannot be loaded now: {first_line(error)}"
    if not found:
        raise ModelError(f"model.backend: auto: {why}") from error
    first = _first(folder, model, found, on_gpu)
    _LOG.warning("model.backend: auto: %s. %s is taken in its place", why, first.candidate)
    return replace(first, reason=why, is_open=True)


def as_baseline(model: ModelParameters) -> ModelParameters:
    """The model as torch would compute it, whose weights the built-in runtimes read."""
    return model.model_copy(update={"backend": BASELINE})


def recalled(folder: Path, model: ModelParameters, on_gpu: bool, allowed: Sequence[Candidate]) -> RuntimeChoice | None:
    """The last choice on such a machine, for this model and precision; None where it is none of those allowed."""
    kept = runtime_cache.remembered(_key(folder, model, on_gpu), _packages(allowed))
    try:
        choice = None if kept is None else RuntimeChoice.from_json(kept["choice"])
        day = "" if kept is None else str(kept["day"])
    except (KeyError, TypeError, AttributeError):
        return None
    if choice is None or choice.candidate not in allowed:
        return None
    return replace(
        choice,
        reason=f"as on {day}, {choice.reason}",
        measurements=(),
        seconds=0.0,
        most_seconds=0.0,
        windows=0,
        is_remembered=True,
    )


def remember(
    folder: Path, model: ModelParameters, on_gpu: bool, allowed: Iterable[Candidate], choice: RuntimeChoice
) -> None:
    """Keeps a choice that was measured, for jobs that are too short to measure.

    Args:
        allowed: what could have been chosen; where that changes, or a version of it, there is no choice yet.
    """
    runtime_cache.remember(_key(folder, model, on_gpu), _packages(allowed), choice.to_json())


def _key(folder: Path, model: ModelParameters, on_gpu: bool) -> tuple[str, ...]:
    return fingerprint(folder, BASELINE), model.dtype or model.precision, "gpu" if on_gpu else "cpu"


def _packages(allowed: Iterable[Candidate]) -> list[str]:
    names = {candidate.backend for candidate in allowed}
    return sorted({package for name in names for package in (name, *find_runtime(name).packages)})


def _first(folder: Path, model: ModelParameters, found: Sequence[Candidate], on_gpu: bool) -> RuntimeChoice:
    """Torch in the type that the precision asks for, or what comes first where torch has none."""
    if found[0].backend != BASELINE:
        return RuntimeChoice(found[0].backend, found[0].dtype, "torch does not compute in this type")
    dtype = choose_precision(folder, as_baseline(model), on_gpu).dtype
    return RuntimeChoice(BASELINE, dtype, "nothing was measured on this machine yet")


def _is_for_gpus(runtime: Runtime) -> bool:
    try:
        return runtime.fast is not None and runtime.fast.uses_gpu("auto")
    except (ImportError, OSError) as error:
        # It is installed and does not start, as where one of its libraries is missing.
        _LOG.warning("model.backend: auto leaves %s out, which cannot be imported: %s", runtime.name, first_line(error))
        return False


def _types(runtime: Runtime, folder: Path, model: ModelParameters, on_gpu: bool) -> Sequence[str]:
    decided = decided_precision(model)
    if decided is not None:
        return [decided.dtype] if decided.dtype in runtime.dtypes else []
    if runtime.fast is None or (model.precision == "auto" and not on_gpu):
        return [EXACT]
    fast = runtime.fast.choose(folder, on_gpu).dtype
    # Half precision makes every GPU faster, and not every CPU.
    return [fast] if on_gpu else list(dict.fromkeys((fast, EXACT)))
