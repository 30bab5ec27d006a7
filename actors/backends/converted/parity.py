"""Checks a converted model against torch in float32: once on each kind of machine, and always on the same windows."""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actors.arrays import Floats
from actors.backends.base import Backend, PassOutput
from actors.backends.converted.conversion_cache import Converted, locked
from actors.backends.precision import EXACT
from actors.batch import Batch
from actors.cache import replace_file
from actors.errors import ModelError
from actors.model_config import load_config, longest_window
from actors.parameters import ModelParameters
from actors.processor import this_processor

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_LOG = logging.getLogger("spanmill.model")
_RESULT = "parity-"
_QUESTIONS = (
    "Who kept the ledger of the salt works?",
    "How many barrels went down the river in 1874, and what did the toll at the lock come to?",
    "Why was the kiln rebuilt?",
)
_PASSAGES = (
    "Ines Okafor kept it for nineteen years.",
    "The salt works at the bend had four pans and one kiln. In 1874 they sent 2,310 barrels down the river, 190 more "
    "than the year before; the lock-keeper took two pence for each, which the owners called robbery & paid.",
    "When the east wall cracked (a frost in March had lifted it), the kiln was taken down to its floor. Masons from "
    "the next valley built it again with a lower arch. The ledger gives their names, their wages and what they drank, "
    "but not the reason for the arch; a letter of Okafor's, found in 1951 behind a drawer, does: the old one had let "
    "the heat run to the chimney, so that the outer pans never boiled.",
)
_LONGEST = 384
"""Tokens of the longest window."""


@dataclass(frozen=True)
class Deviation:
    """How far a converted model is from torch in float32, over all windows."""

    hidden: float
    """Size of the difference of the last hidden states over the size of the exact ones; 0 where there are none."""
    logits: float
    """The same of the start and end logits, about their mean; 0 without a QA head."""
    largest: float
    """Largest difference of a logit; 0 without a QA head."""

    def __str__(self) -> str:
        return f"hidden states {self.hidden:.2g}, logits {self.logits:.2g} of their size, one logit {self.largest:.2g}"

    def exceeds(self, most: "Deviation") -> bool:
        """Whether it is more than is allowed; NaN always is."""
        return not (self.hidden <= most.hidden and self.logits <= most.logits and self.largest <= most.largest)


TOLERANCES = {
    EXACT: Deviation(hidden=1e-4, logits=1e-4, largest=1e-3),
    "float16": Deviation(hidden=0.03, logits=0.05, largest=float("inf")),
    "int8": Deviation(hidden=0.3, logits=0.5, largest=float("inf")),
}
"""Most that a runtime may be off, by the type that it computes in."""


def check_parity(
    backend: Backend, folder: Path, converted: Converted, dtype: str, package: str, has_head: bool, threads: int | None
) -> None:
    """Compares what a loaded model computes with torch, unless that was done on this kind of machine.

    The result is kept in `converted.results`, and counts for as long as the converted files stay as they are.

    Args:
        folder: the model that was converted.
        converted: what `backend` was read from.
        dtype: what it computes in.
        package: the distribution that computes.
        has_head: whether logits are among what it gives.
        threads: CPU threads of torch; None for its own choice.

    Raises:
        ModelError: it computes something else; or the result cannot be written.
    """
    cpu = this_processor()
    kind = (cpu.name, sorted(cpu.abilities), backend.device.partition(":")[0], package, version(package), dtype)
    place = converted.results / f"{_RESULT}{hashlib.sha256(repr(kind).encode()).hexdigest()[:16]}.json"
    found = _kept(place, _stamp(converted))
    if found is None:
        with locked(converted.results):
            found = _kept(place, _stamp(converted))
            if found is None:
                found = measure_deviation(backend, folder, has_head, threads)
                _keep(place, found, _stamp(converted))
                _LOG.info("%s %s against torch in float32: %s", package, dtype, found)
    most = TOLERANCES[dtype]
    if found.exceeds(most):
        raise ModelError(
            f"{folder}: what {package} computes of it in {dtype} on this kind of machine is too far from torch in "
            f"float32: {found}; allowed are {most}. Set model.backend: torch"
            f"{'' if dtype == EXACT else ', or model.precision: exact'} (measured once, and kept in {place})"
        )


def measure_deviation(backend: Backend, folder: Path, has_head: bool, threads: int | None) -> Deviation:
    """Compares a loaded model with torch in float32: some windows, each alone and all in one batch.

    Raises:
        ModelError: torch cannot load the model.
    """
    # Not before here: later loads of the same model do without torch.
    from actors.backends.pytorch.torch_backend import TorchBackend
    from actors.backends.pytorch.torch_weights import load_model

    batches = TrialBatches.of_model(folder)
    exact = TorchBackend(load_model(folder, has_head), ModelParameters(device="cpu", dtype="float32", threads=threads))
    others = trial_outputs(backend, batches, has_head)
    return deviation(others, exact_outputs(exact, batches, has_head), has_head)


@dataclass(frozen=True)
class Window:
    """The tokens of one window."""

    ids: Sequence[int]
    types: Sequence[int] | None


@dataclass(frozen=True)
class TrialBatches:
    """Windows as they are computed for a comparison."""

    alone: tuple[Batch, ...]
    """Each by itself."""
    together: Batch
    """All in one."""

    @classmethod
    def of_model(cls, folder: Path, every_pair: bool = False) -> "TrialBatches":
        """Those of a model folder, see `trial_windows`; of random tokens where it has no tokenizer.

        Raises:
            ModelError: the config cannot be read.
        """
        windows = trial_windows(folder, every_pair) or _random_windows(load_config(folder))
        return cls(tuple(_batch([window]) for window in windows), _batch(windows))

    @property
    def tokens(self) -> int:
        """That are computed."""
        return 2 * int(self.together.lengths.sum())


def trial_outputs(backend: Backend, batches: TrialBatches, has_head: bool) -> list[PassOutput]:
    """What a backend gives of every window alone, and then of every window in company."""
    found = [backend.forward(batch, has_head, None, want_hidden=True) for batch in batches.alone]
    company = backend.forward(batches.together, has_head, None, want_hidden=True)
    lengths = batches.together.lengths
    return found + [company.part(slice(row, row + 1), int(length)) for row, length in enumerate(lengths)]


def exact_outputs(torch: Backend, batches: TrialBatches, has_head: bool) -> list[PassOutput]:
    """What `trial_outputs` is compared with: torch's, of every window alone, twice."""
    return [torch.forward(batch, has_head, None, want_hidden=True) for batch in batches.alone] * 2


def trial_windows(folder: Path, every_pair: bool = False) -> list[Window]:
    """Windows of some questions and passages, from a few tokens to as many as usual; none without a tokenizer.

    Args:
        every_pair: every question with every passage, twelve windows; else one of each passage, four.
    """
    tokenizer = find_tokenizer(folder)
    if tokenizer is None:
        return []
    config = load_config(folder)
    longest = longest_trial_window(tokenizer, config)
    passages = (*_PASSAGES, " ".join(_PASSAGES * 8))
    has_types = getattr(config, "type_vocab_size", 0) > 1
    windows = []
    for question, passage in _pairs(passages, every_pair):
        found = tokenizer(question, passage, truncation="only_second", max_length=longest)
        windows.append(Window(found["input_ids"], found.get("token_type_ids") if has_types else None))
    return windows


def find_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder, as transformers reads it; None where it has none, or a broken one."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError):
        return None
    # Transformers makes an empty one up where a folder has none.
    return None if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens) else tokenizer


def longest_trial_window(tokenizer: Any, config: "PreTrainedConfig") -> int:
    """Tokens of the longest window that a model is tried with."""
    longest: int = min(_LONGEST, tokenizer.model_max_length, longest_window(config))
    return longest


def _pairs(passages: Sequence[str], every_pair: bool) -> Iterable[tuple[str, str]]:
    if every_pair:
        return [(question, passage) for passage in passages for question in _QUESTIONS]
    return [(_QUESTIONS[number % len(_QUESTIONS)], passage) for number, passage in enumerate(passages)]


def _random_windows(config: "PreTrainedConfig") -> list[Window]:
    rows = int(getattr(config, "vocab_size", 1000))
    rng, longest = np.random.default_rng(0), min(_LONGEST, longest_window(config))
    # Neither the first ids nor the last: special tokens stand there.
    return [Window(rng.integers(rows // 4, 3 * rows // 4, min(n, longest)).tolist(), None) for n in (7, 40, 110, 384)]


def _batch(windows: Sequence[Window]) -> Batch:
    lengths = np.array([len(window.ids) for window in windows], dtype=np.int64)
    types = [window.types for window in windows if window.types is not None]
    return Batch(
        np.concatenate([np.asarray(window.ids, dtype=np.int32) for window in windows]),
        np.concatenate([np.asarray(row, dtype=np.int32) for row in types]) if types else None,
        lengths,
        np.ones_like(lengths),
        lengths - 2,
        None,
        pad_id=0,
    )


def deviation(
    others: Sequence[PassOutput], own: Sequence[PassOutput], has_head: bool, has_hidden: bool = True
) -> Deviation:
    """How far what a backend gave is from what torch gave of the same windows.

    Args:
        has_head: whether logits are among it.
        has_hidden: whether hidden states are.

    Raises:
        ModelError: it has other shapes.
    """
    share = largest = hidden = 0.0
    if has_hidden:
        found, exact = _alike([out.hidden for out in others], [out.hidden for out in own], "hidden states")
        hidden = _share(found - exact, exact)
    if has_head:
        starts = _alike([out.start_logits for out in others], [out.start_logits for out in own], "start logits")
        ends = _alike([out.end_logits for out in others], [out.end_logits for out in own], "end logits")
        logits, found = np.stack([starts[1], ends[1]]), np.stack([starts[0], ends[0]])
        share = _share(found - logits, logits - logits.mean(axis=1, keepdims=True))
        largest = float(np.abs(found - logits).max())
    return Deviation(hidden, share, largest)


def _alike(others: Sequence[Floats | None], own: Sequence[Floats | None], what: str) -> tuple[Floats, Floats]:
    found, exact = _flat(others), _flat(own)
    if found.shape != exact.shape:
        raise ModelError(f"it gives {found.size:,} numbers as {what}, and torch {exact.size:,}: it is another model")
    return found, exact


def _flat(arrays: Sequence[Floats | None]) -> Floats:
    return np.concatenate([np.zeros(0, np.float32), *(array.reshape(-1) for array in arrays if array is not None)])


def _share(difference: Floats, exact: Floats) -> float:
    return float(np.linalg.norm(difference) / max(float(np.linalg.norm(exact)), 1e-9))


def _stamp(converted: Converted) -> list[list[object]]:
    """Which files the converted model is: another stamp is another model."""
    if converted.is_exported:
        return converted.files
    files = sorted(path for path in converted.folder.iterdir() if not path.name.startswith((_RESULT, ".")))
    return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]


def _kept(place: Path, stamp: list[list[object]]) -> Deviation | None:
    try:
        kept = json.loads(place.read_bytes())
        return Deviation(**kept["deviation"]) if kept["files"] == stamp else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # never measured, or a file that somebody spoilt


def _keep(place: Path, found: Deviation, stamp: list[list[object]]) -> None:
    replace_file(place, json.dumps({"deviation": asdict(found), "files": stamp}).encode())
