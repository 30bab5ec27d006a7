import pytest

from pipelines.bench.workers import floor
from tests.pipelines.bench.setups import setup_of


def test_a_cpu_has_two_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floor, "_SECONDS", 0.0)
    found = floor.Floor(setup_of("answer"))
    assert found.device() == {"device": "cpu", "gpu": None}
    rates = found.rates()
    assert list(rates) == ["sgemm", "fastest float32 product"]
    assert min(rates.values()) > 1e8
