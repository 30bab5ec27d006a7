from pipelines.bench.workers.floor import Floor
from tests.pipelines.bench.setups import setup_of


def test_a_cpu_has_two_rates() -> None:
    floor = Floor(setup_of("answer"))
    assert floor.device() == {"device": "cpu", "gpu": None}
    rates = floor.rates()
    assert list(rates) == ["sgemm", "fastest float32 product"]
    assert min(rates.values()) > 1e8
