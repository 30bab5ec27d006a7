"""What every measurement has: a service that is warm, what it can do, and how long to look."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from actors.serving.parameters import ServiceParameters
from benchmarks.serving.clients import run
from benchmarks.serving.load import Load
from benchmarks.serving.service import Service, serving

ONLINE = 0.3
"""Share of the capacity that online load takes beside a job."""
_WARM_SECONDS, _CAPACITY_SECONDS, _CLIENTS = 10.0, 15.0, 16


@dataclass(frozen=True)
class Setup:
    """What is asked of the run."""

    folder: Path
    console: Console
    rounds: int
    seconds: float
    kills: int
    words: tuple[str, ...]
    """KEY=VALUE of the service."""
    parameters: ServiceParameters
    """The service's, as the words make them, with the number of threads filled in."""

    @property
    def job_words(self) -> list[str]:
        """KEY=VALUE of jobs: the same model on the same threads."""
        return [f"model.name={self.parameters.model.name}", f"model.threads={self.parameters.model.threads}"]


@dataclass(frozen=True)
class Bench:
    """A service that runs, and how much it can do."""

    setup: Setup
    service: Service
    capacity: float
    """Online requests of one row per second, answered while always so many wait that they share passes."""

    def load(self, share: float, seconds: float | None = None, seed: int = 7) -> Load:
        """Requests at a share of the capacity."""
        return Load(self.service.url, seconds or self.setup.seconds, rate=share * self.capacity, seed=seed)


@contextmanager
def started(setup: Setup) -> Iterator[Bench]:
    """A service that is warm, its capacity measured."""
    with serving(setup.folder, setup.words) as service:
        run(Load(service.url, _WARM_SECONDS, clients=_CLIENTS, seed=1))
        capacity = measure_capacity(service)
        setup.console.print(f"capacity {capacity:.1f} requests/s, {_CLIENTS} clients that ask again", style="dim")
        yield Bench(setup, service, capacity)


def measure_capacity(service: Service) -> float:
    """Requests per second while several clients always wait."""
    return run(Load(service.url, _CAPACITY_SECONDS, clients=_CLIENTS, seed=2)).goodput()
