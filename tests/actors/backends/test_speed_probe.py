"""Timing a model before it works."""

from pathlib import Path

import pytest

from actors.backends.speed_probe import measure_speed
from actors.models.loading import load_backend, load_spec
from actors.parameters import ModelParameters


@pytest.mark.parametrize(("backend", "answers"), [("torch", True), ("torch", False), ("null", True)])
def test_every_runtime_has_a_speed(untrained_model: Path, backend: str, answers: bool) -> None:
    parameters = ModelParameters(device="cpu", backend=backend)
    speed = measure_speed(load_backend(untrained_model, parameters, answers), load_spec(untrained_model), answers)
    assert 10 < speed < 1e12
