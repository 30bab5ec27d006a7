"""Open-loop load on a simulated device: a real scheduler, whose passes take simulated time."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from actors.backends.base import PassOutput, PassRequest
from actors.backends.speed_probe import blank_windows
from actors.engine.cost_model import PassShape
from actors.engine.device_lock import DeviceLock
from actors.engine.engine import DeviceTurn, Engine
from actors.engine.inference_task import InferenceTask, Wanted
from actors.engine.passes import PassInFlight, Share
from actors.errors import QueueFull
from actors.parameters import BatchingParameters, EmbeddingParameters, SharingParameters
from actors.scheduling.request import QueuedRequest
from actors.scheduling.scheduler import OnlineScheduler
from actors.tenants import DEFAULT_TENANT, NO_TENANT, TenantWeights
from actors.tokenization.preprocess import prepare_texts
from actors.tokenization.tokenized import Tokenized
from tests.actors.helpers import TableBackend, strings, word_spec, words

SPEC = word_spec()
EMBEDDING = EmbeddingParameters(max_seq_len=128, doc_stride=0)
WANTED = Wanted(window_states=True)
WAIT, QUANTUM = 2.0, 0.05

Cost = Callable[[PassShape], float]


def _prepared(tokens: int) -> Tokenized:
    return prepare_texts(SPEC, EMBEDDING, strings([words([n % 60 for n in range(tokens)])]))[0]


SMALL, MEDIUM, LARGE = (_prepared(tokens) for tokens in (14, 6 * 126, 60 * 126))
KINDS, SHARES = (SMALL, MEDIUM, LARGE), (0.8, 0.19, 0.01)


def cpu(size: PassShape) -> float:
    """Time in proportion to the tokens, padding included; a window of 128 takes 40 ms."""
    return 0.001 + 0.0003 * size.tokens


def gpu(size: PassShape) -> float:
    """A pass takes 20 ms unless it is large, so that small requests cost next to nothing in company."""
    return max(0.02, 0.00006 * size.tokens)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Outcome:
    """Of one request."""

    kind: Tokenized
    arrived: float
    own: float
    refused: bool = False
    done: float = math.nan
    tenant: str = DEFAULT_TENANT

    @property
    def wait(self) -> float:
        """Beyond the time that it takes alone."""
        return self.done - self.arrived - self.own


_NO_PASS = PassRequest(blank_windows(1, 2, SPEC))


class SimulatedEngine(Engine):
    """Its passes take simulated time; whatever arrives meanwhile is submitted at its moment."""

    def __init__(self, clock: Clock, cost: Cost, noise: float) -> None:
        super().__init__(TableBackend(), SPEC, BatchingParameters(), DeviceLock(SharingParameters()))
        self._clock, self._cost, self._noise = clock, cost, noise
        self._rng = np.random.default_rng(5)
        self.tenants: dict[InferenceTask, str] = {}
        self.computed: list[tuple[float, str, int]] = []
        """When a pass ended, whose windows it had, and their tokens."""
        self.meanwhile: Callable[[float], None] = lambda until: None

    def submit(self, shares: Sequence[Share], turn: DeviceTurn, *, online: bool = False) -> PassInFlight:
        lengths = np.concatenate([share.task.lengths[share.chosen] for share in shares])
        size = PassShape.padded(len(lengths), int(lengths.max()))
        return PassInFlight(tuple(shares), (), size, online, 0.0, self._backend.submit(_NO_PASS), ExitStack())

    def wait(self, flight: PassInFlight) -> PassOutput:
        seconds = self._cost(flight.size) * float(self._rng.lognormal(0.0, self._noise))
        ended = self._clock.now + seconds
        self.meanwhile(ended)
        self._clock.now = ended
        self.batcher.costs.observe(flight.size, seconds)
        for share in flight.shares:
            tokens = int(share.task.lengths[share.chosen].sum())
            self.computed.append((ended, self.tenants[share.task], tokens))
        return flight.submitted.collect()

    def keep(self, flight: PassInFlight, output: PassOutput) -> list[Exception | None]:
        return [None] * len(flight.shares)


class SteppedScheduler(OnlineScheduler):
    """Runs its passes when it is told to, and not in a thread."""

    def _serve(self) -> None:
        """Nothing."""

    def _read(self, flight: PassInFlight, output: PassOutput, requests: Sequence[QueuedRequest]) -> None:
        """At the simulated moment of the pass's end."""
        super()._read(flight, output, requests)
        self._last_read.result()

    def run_all(self) -> None:
        self._run_all()


@dataclass
class Simulation:
    """A scheduler on a simulated device, warm."""

    cost: Cost
    noise: float = 0.1
    max_wait: float = WAIT
    weights: TenantWeights = field(default_factory=TenantWeights)
    clock: Clock = field(default_factory=Clock)
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = SimulatedEngine(self.clock, self.cost, self.noise)
        self.scheduler = SteppedScheduler(self.engine, QUANTUM, 100_000, self.max_wait, self.clock, self.weights)
        for kind in (SMALL, *KINDS * 3):
            self.submit(kind)
            self.scheduler.run_all()
        self.own = {id(outcome.kind): outcome.done - outcome.arrived for outcome in self.outcomes}
        self.outcomes.clear()

    def submit(self, kind: Tokenized, tenant: str = DEFAULT_TENANT) -> Outcome:
        outcome = Outcome(kind, self.clock.now, getattr(self, "own", {}).get(id(kind), 0.0), tenant=tenant)
        self.outcomes.append(outcome)
        task = self.engine.begin(kind, WANTED)
        self.engine.tenants[task] = tenant
        try:
            request = self.scheduler.submit(task, tenant=tenant, is_probe=tenant == NO_TENANT)
        except QueueFull:
            outcome.refused = True
            return outcome

        def note(_: object) -> None:
            outcome.done = self.clock.now

        request.future.add_done_callback(note)
        return outcome

    def load(self, arrivals: Iterator[tuple[float, Tokenized]]) -> "Simulation":
        """Submits every request at its moment, whatever becomes of the others, and waits for the last."""
        return self.load_of((at, kind, DEFAULT_TENANT) for at, kind in arrivals)

    def load_of(self, arrivals: Iterable[tuple[float, Tokenized, str]]) -> "Simulation":
        """As `load`, of several tenants."""
        coming = sorted(arrivals, key=lambda arrival: arrival[0])
        start = self.clock.now

        def meanwhile(until: float) -> None:
            while coming and start + coming[0][0] <= until:
                at, kind, tenant = coming.pop(0)
                self.clock.now = start + at
                self.submit(kind, tenant)

        self.engine.meanwhile = meanwhile
        while coming:
            meanwhile(max(self.clock.now, start + coming[0][0]))
            self.scheduler.run_all()
        return self

    def of(self, kind: Tokenized) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.kind is kind]

    def shares(self, since: float, until: float) -> dict[str, float]:
        """By tenant, the part of the tokens that were computed in this time."""
        tokens: Counter[str] = Counter()
        for ended, tenant, own in self.engine.computed:
            tokens[tenant] += own if since < ended <= until else 0
        return {tenant: own / tokens.total() for tenant, own in tokens.items()}

    def refused(self, kind: Tokenized) -> float:
        """The part of these requests that was refused."""
        found = self.of(kind)
        return sum(outcome.refused for outcome in found) / len(found)


def poisson(
    rate: float, seconds: float, shares: Sequence[float] = SHARES, seed: int = 11
) -> Iterator[tuple[float, Tokenized]]:
    """Moments of arrival, and kinds in these shares."""
    rng = np.random.default_rng(seed)
    at = float(rng.exponential(1 / rate))
    while at < seconds:
        yield at, KINDS[int(rng.choice(len(KINDS), p=shares))]
        at += float(rng.exponential(1 / rate))


def capacity(cost: Cost, shares: Sequence[float] = SHARES) -> float:
    """Requests of the mixture per second, where as many wait as there may be."""
    simulation = Simulation(cost, max_wait=math.inf)
    began = simulation.clock.now
    simulation.load((0.0, kind) for _, kind in poisson(10.0, 20.0, shares))
    return len(simulation.outcomes) / (simulation.clock.now - began)
