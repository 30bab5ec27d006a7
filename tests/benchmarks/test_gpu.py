"""The measurements on a GPU, all parts of them, with tiny sizes on a CPU."""

import json
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_bench import Bench, Record, Sizes
from tests.actors.helpers import GOLDEN

CPU = torch.device("cpu")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """With a golden model in place of the one that ships."""
    return Bench(CPU, Sizes.tiny(), tmp_path, GOLDEN / "models" / "distilbert")


@pytest.mark.more
def test_every_part_runs(bench: Bench, tmp_path: Path) -> None:
    gpu.measure(bench, Record(tmp_path / "figures.json"))
    parts = json.loads((tmp_path / "figures.json").read_text())
    assert {part: found.get("traceback") for part, found in parts.items()} == dict.fromkeys(parts)
    assert list(parts) == ["machine", *(part.__name__ for part in gpu.PARTS)]
    assert parts["check"]["float32, verdict"] == "agrees"
    assert parts["engine_base"]["bfloat16, 180, share of the rate, from the second shard on"] > 0


def test_what_fails_is_named_and_the_next_part_goes_on(bench: Bench, tmp_path: Path) -> None:
    broken = Bench(CPU, bench.sizes, tmp_path, tmp_path / "missing")
    record = Record(None)
    gpu.measure(broken, record, parts=gpu.PARTS[:2])
    assert str(tmp_path / "missing") in record.parts["check"]["failed"]
    assert record.parts["matrix_rates"]["bfloat16, TFLOP/s"] > 0


def test_what_has_no_time_left_is_named(bench: Bench) -> None:
    bench.deadline, record = time.perf_counter(), Record(None)
    gpu.measure(bench, record)
    assert {part.__name__ for part in gpu.PARTS} == {name for name, found in record.parts.items() if "skipped" in found}
