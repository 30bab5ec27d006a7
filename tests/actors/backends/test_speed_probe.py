"""Timing a model before it works."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.backends import speed_probe
from actors.backends.speed_probe import measure_speed
from actors.models.loading import load_backend, load_spec
from actors.parameters import ModelParameters


@pytest.mark.parametrize(("backend", "answers"), [("torch", True), ("torch", False), ("null", True)])
def test_every_runtime_has_a_speed(untrained_model: Path, backend: str, answers: bool) -> None:
    parameters = ModelParameters(device="cpu", backend=backend)
    speed = measure_speed(load_backend(untrained_model, parameters, answers), load_spec(untrained_model), answers)
    assert 10 < speed < 1e12


class _Clocked:
    """Passes that take as long as they are said to, by a clock of their own."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.now, self.windows = 0.0, list[int]()
        self._seconds = seconds

    def forward(self, batch: Any, want_spans: bool, pool_weights: None) -> None:
        self.windows.append(batch.windows)
        self.now += self._seconds(batch.windows)


@pytest.mark.parametrize(
    ("seconds", "last", "speed"),
    [
        (lambda windows: 1e-3, 64, 64 * 128 / 1e-3),
        (lambda windows: 1e-3 * max(windows, 8), 16, 128 / 1e-3),
        (lambda windows: 1e-3 * windows, 2, 128 / 1e-3),
        (lambda windows: 1.0, 1, 128),
    ],
    ids=["a device that is never full", "full with eight windows", "with one", "slow"],
)
def test_passes_double_until_they_fill_the_device_or_take_long(
    untrained_model: Path, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float], last: int, speed: float
) -> None:
    backend: Any = _Clocked(seconds)
    monkeypatch.setattr(speed_probe, "time", SimpleNamespace(perf_counter=lambda: backend.now))
    assert measure_speed(backend, load_spec(untrained_model), True) == pytest.approx(speed)
    assert max(backend.windows) == last
