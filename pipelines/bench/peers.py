"""Who is compared: what each is, what it needs, and at which settings it is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from actors.backends.base import Runtime, find_runtime
from actors.models.runtime_choice import compared_runtimes
from pipelines.bench.environments import FASTEMBED, INFINITY, TRANSFORMERS_4, Environment
from pipelines.bench.worker import WORKERS
from pipelines.errors import ConfigError
from pipelines.schemas import JobKind

REFERENCE = "engine"
"""Whose answers and vectors all others are compared with: the engine on torch in float32."""
_BOTH: tuple[JobKind, ...] = ("answer", "embed")
_EXTRA = "pip install 'spanmill[bench]'"
_PASS_SIZES = (8, 16, 32)


@dataclass(frozen=True)
class Setting:
    """One way in which a peer is asked; a line of the table."""

    name: str
    """Behind the peer's name; empty where there is one way only."""
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """Who is compared."""

    name: str
    what: str
    """For people."""
    worker: str
    """Its file in `workers/`, without `.py`."""
    tasks: tuple[JobKind, ...]
    settings: tuple[Setting, ...] = (Setting("", {}),)
    is_tuned: bool = False
    """Whether only the fastest of the settings is measured, which the warm-up finds."""
    needs: tuple[str, ...] = ()
    """Requirements, as pip writes them, beside what Spanmill itself needs."""
    how: str = _EXTRA
    """What to do where they are missing."""
    environment: Environment | None = None
    """The one that is made for it; None where it runs in this one only."""
    setup: Mapping[str, Any] = field(default_factory=dict)
    """What its worker is told beside what all are."""
    on_ray: bool = False
    wants_onnx: bool = False
    """Whether it takes an exported model."""
    devices: tuple[Literal["cpu", "gpu"], ...] = ("cpu",)

    @property
    def file(self) -> Path:
        """What its process runs."""
        return WORKERS / f"{self.worker}.py"

    @property
    def is_own(self) -> bool:
        """Whether it is Spanmill."""
        return self.worker in ("engine", "whole_job")


def all_peers() -> list[Peer]:
    """In the order of the table."""
    return [*_engines(), *_OTHERS]


def _engines() -> list[Peer]:
    engines = []
    for name in compared_runtimes():
        engines += _engines_of(name, find_runtime(name))
    return engines


def _engines_of(name: str, runtime: Runtime) -> list[Peer]:
    """Exact, and fast where the runtime knows more than float32; the former is the reference on torch."""
    engines, base = [], REFERENCE if name == "torch" else f"{REFERENCE}-{name}"
    for precision in ("exact", "fast") if runtime.fast is not None else ("exact",):
        is_reference = base == REFERENCE and precision == "exact"
        learning = (Setting("learning", {"fresh": True}),) if is_reference else ()
        suffix = "" if precision == "exact" else "-fast"
        engines.append(
            Peer(
                f"{base}{suffix}",
                f"Spanmill's engine on {runtime.name}, model.precision={precision}",
                "engine",
                _BOTH,
                settings=(*learning, Setting("", {})),
                needs=runtime.packages,
                how=f"pip install 'spanmill[{runtime.extra}]'" if runtime.extra else "",
                setup={"runtime": name, "precision": precision},
                devices=("cpu", "gpu"),
            )
        )
    return engines


def _batches(key: str, *sizes: int) -> tuple[Setting, ...]:
    return tuple(Setting(f"{size} a batch", {key: size}) for size in sizes)


_ENCODE = "sentence-transformers' encode on {}, 32 texts a batch, cut at the window's length"
_LOOP = "a hand-written loop over {} in {}: tokenised, sorted by length, the best of a few batch sizes"

_OTHERS = (
    Peer(
        "job",
        "the whole job of spanmill answer or embed on Ray, Parquet to Parquet, with model.* of --set",
        "whole_job",
        _BOTH,
        on_ray=True,
        devices=("cpu", "gpu"),
    ),
    Peer(
        "pipeline",
        "transformers 4.57.6's question-answering pipeline, which transformers 5 removed",
        "transformers_pipeline",
        ("answer",),
        settings=_batches("windows", 1, 8, 32),
        needs=("torch", "transformers<5"),
        environment=TRANSFORMERS_4,
        devices=("cpu", "gpu"),
    ),
    Peer(
        "ray-data",
        "Ray Data's map_batches as its guide shows it: 32 rows a batch, padded, argmax of start and of end",
        "plain_ray_data",
        ("answer",),
        settings=(Setting("", {"rows": 32}),),
        on_ray=True,
        devices=("cpu", "gpu"),
    ),
    Peer(
        "sentence-transformers",
        _ENCODE.format("torch"),
        "sentence_transformers_encode",
        ("embed",),
        settings=(Setting("", {"texts": 32}),),
        needs=("torch", "sentence-transformers"),
        environment=TRANSFORMERS_4,
        setup={"backend": "torch"},
        devices=("cpu", "gpu"),
    ),
    *(
        Peer(
            f"sentence-transformers-{name}",
            _ENCODE.format(title),
            "sentence_transformers_encode",
            ("embed",),
            settings=(Setting("", {"texts": 32}),),
            needs=("sentence-transformers", package, optimum),
            environment=TRANSFORMERS_4,
            setup={"backend": name},
        )
        for name, title, package, optimum in (
            ("onnx", "ONNX Runtime", "onnxruntime", "optimum-onnx"),
            ("openvino", "OpenVINO", "openvino", "optimum-intel"),
        )
    ),
    *(
        Peer(
            f"loop-{runtime}{'' if precision == 'float32' else '-int8'}",
            _LOOP.format(title, precision),
            "sorted_loop",
            _BOTH,
            settings=_batches("windows", *_PASS_SIZES),
            is_tuned=True,
            needs=find_runtime(runtime).packages,
            setup={"runtime": runtime, "precision": precision},
        )
        for runtime, title in (("ctranslate2", "CTranslate2"), ("onnxruntime", "ONNX Runtime"))
        for precision in ("float32", "int8")
    ),
    Peer(
        "infinity",
        "infinity's engine on torch, without its server",
        "infinity_engine",
        ("embed",),
        needs=("infinity-emb", "sentence-transformers"),
        environment=INFINITY,
        setup={"texts": 32},
        devices=("cpu", "gpu"),
    ),
    Peer(
        "fastembed",
        "FastEmbed on ONNX Runtime, 32 texts a batch, over an export of the model",
        "fastembed_engine",
        ("embed",),
        settings=(Setting("", {"texts": 32}),),
        needs=("fastembed",),
        environment=FASTEMBED,
        wants_onnx=True,
    ),
)


def choose(peers: Sequence[Peer], words: Sequence[str], task: JobKind) -> tuple[list[Peer], set[str]]:
    """Those that are asked for, in the order of the table, always with the reference; and which by their very names.

    Args:
        words: names, or beginnings of names up to a hyphen (`loop`, `engine`); empty for all that do the task.

    Raises:
        ConfigError: there is no such peer, or it does not do the task.
    """
    able = [peer for peer in peers if task in peer.tasks]
    if not words:
        return able, set()
    wanted, named = {REFERENCE}, set()
    for word in words:
        found = [peer for peer in peers if peer.name == word or peer.name.startswith(f"{word}-")]
        if not found:
            raise ConfigError(f"--peers: there is no {word!r}; there are {', '.join(peer.name for peer in peers)}")
        if not any(task in peer.tasks for peer in found):
            raise ConfigError(f"--peers: {word} does nothing for --task {task}; leave it out, or give another --task")
        wanted |= {peer.name for peer in found}
        named |= {word} if any(peer.name == word for peer in found) else {found[0].name} if len(found) == 1 else set()
    return [peer for peer in able if peer.name in wanted], named
