"""What the measurements on a GPU share: sizes, models, windows, a clock that waits for the device, and the record."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from actors.arrays import Ints, Longs
from actors.backends.pytorch.packed.packed_pass import PackedPass, packed_pass
from actors.backends.pytorch.padded_pass import PaddedPass
from actors.backends.pytorch.torch_backend import TorchBackend
from actors.backends.pytorch.torch_weights import load_model
from actors.models.loading import load_spec
from actors.parameters import ModelParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import prepare_pairs
from actors.tokenization.tokenized import Tokenized
from benchmarks.corpus import pairs_of_length, write_model
from pipelines.bench.arithmetic import Shape

QA = QAParameters()
MEANS = (60, 180, 350)
"""Tokens of a window, on average."""
HALVES = ("bfloat16", "float16")
_ROOT = Path(__file__).parents[1]
SHIPPED = _ROOT / "models" / "minilm-qa"
_SAMPLES = _ROOT / "samples" / "corpus.parquet"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rows: int = 16_384
    """For each mean length."""
    shard_rows: int = 2_048
    check_rows: int = 50
    """Rows of the sample corpus that are answered on the CPU as well."""
    sample_rows: int = 364
    """Rows of the sample corpus on which precisions are compared."""
    square: int = 8_192
    """Rows and columns of the matrices whose product gives the device's rate."""
    layers: int = 6
    dim: int = 768
    pass_tokens: int = 16_384
    """Of a pass that is timed by itself."""
    fixed_tokens: tuple[int, ...] = (16_384, 4_096, 65_536)
    """Of passes that are compiled."""
    compiler: str = "inductor"
    repeats: int = 10
    job_rows: int = 65_536

    @classmethod
    def tiny(cls) -> "Sizes":
        """Every path, in seconds, on a CPU; the figures mean nothing."""
        return cls(16, 8, 3, 4, 64, 1, 64, 256, (256,), "eager", 1, 64)


class Record:
    """Figures by part, printed as they come, and written to a file after each: a machine may be gone at any moment."""

    def __init__(self, file: Path | None) -> None:
        """Takes the JSON file; None writes none."""
        self._file, self._began = file, time.perf_counter()
        self.parts: dict[str, dict[str, Any]] = {}

    def note(self, part: str, name: str, value: object) -> None:
        """A figure, or a sentence."""
        self.parts.setdefault(part, {})[name] = value
        shown = f"{value:.4g}" if isinstance(value, float) else value
        print(f"[{time.perf_counter() - self._began:6.1f}] {part}: {name}: {shown}", flush=True)
        if self._file is not None:
            self._file.write_text(json.dumps(self.parts, indent=1, default=str), encoding="utf-8")


@dataclass
class Bench:
    """One run."""

    device: torch.device
    sizes: Sizes
    folder: Path
    """For models that are made up."""
    shipped: Path = SHIPPED
    """The model that ships: its weights were trained, so precisions can be compared by its answers."""
    deadline: float = math.inf
    """Of `time.perf_counter`."""
    rates: dict[str, float] = field(default_factory=dict)
    """Operations a second of a large matrix product, by dtype, once they have been measured."""

    def __post_init__(self) -> None:
        """Writes the model of DistilBERT-base's shape."""
        write_model(self.base, self.sizes.layers, self.sizes.dim)
        # One for every run, so that nothing outlives it.
        self.backend = cache(self._backend)
        self.windows = cache(self._windows)

    @property
    def base(self) -> Path:
        """The model of DistilBERT-base's shape."""
        return self.folder / "base"

    @property
    def is_over(self) -> bool:
        """Whether the time is spent."""
        return time.perf_counter() >= self.deadline

    def sync(self) -> None:
        """Waits until the device is done with all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, act: Callable[[], object]) -> float:
        """How long something takes, the device's share of it included."""
        self.sync()
        started = time.perf_counter()
        act()
        self.sync()
        return time.perf_counter() - started

    def best_seconds(self, act: Callable[[], object]) -> float:
        """The mean of some repetitions that follow each other without a wait, after one that warms up."""
        act()
        return self.seconds(lambda: [act() for _ in range(self.sizes.repeats)]) / self.sizes.repeats

    def parameters(self, dtype: str) -> ModelParameters:
        """Of a model on the device."""
        return ModelParameters.model_validate({"dtype": dtype, "device": str(self.device)})

    def _backend(self, folder: Path, dtype: str, searches_spans: bool | None = None) -> TorchBackend:
        """A model as the engine has it, once for all parts."""
        return TorchBackend(load_model(folder, with_qa_head=True), self.parameters(dtype), searches_spans)

    def module(self, folder: Path, dtype: str) -> Any:
        """A transformers module on the device, of its own."""
        module = load_model(folder, with_qa_head=True).train(False)
        return torch.nn.Module.to(module, device=self.device, dtype=getattr(torch, dtype))

    def padded(self, folder: Path, dtype: str) -> PaddedPass:
        """The transformers module's own forward pass."""
        return PaddedPass(self.module(folder, dtype))

    def packed(self, folder: Path, dtype: str) -> PackedPass:
        """The pass without padding.

        Raises:
            RuntimeError: what it computes differs from the module's own pass by more than is allowed.
        """
        found = packed_pass(self.module(folder, dtype))
        if found is None:
            raise RuntimeError(f"{folder.name} is not packed in {dtype}")
        return found

    def _windows(self, folder: Path, mean: int) -> tuple[EncoderSpec, tuple[Tokenized, ...]]:
        """Shards of rows of so many tokens on average."""
        spec, rows = load_spec(folder), self.sizes.rows
        questions, contexts = pairs_of_length(mean, rows)
        shards = []
        for first in range(0, rows, self.sizes.shard_rows):
            part = slice(first, first + self.sizes.shard_rows)
            shards.append(prepare_pairs(spec, QA, questions[part], contexts[part])[0])
        return spec, tuple(shards)

    def shape(self, folder: Path) -> Shape:
        """What decides the arithmetic of a model."""
        return Shape.of_folder(folder)

    def share(self, folder: Path, lengths: Ints | Longs, seconds: float, dtype: str) -> float:
        """Part of the measured rate that windows of these lengths reached; NaN where no rate was measured."""
        return self.shape(folder).flops(lengths) / seconds / self.rates.get(dtype, math.nan)


def sample_rows(rows: int) -> tuple[pa.StringArray, pa.StringArray]:
    """Questions and passages of the sample corpus."""
    table = pq.read_table(_SAMPLES, columns=["question", "context"]).slice(0, rows)
    return table["question"].combine_chunks(), table["context"].combine_chunks()
