"""Requests to a service, from a process of its own: at a fixed rate whatever becomes of them, or one after another.

python -m benchmarks.serving.load LOAD.json OUTCOMES.parquet
"""

import asyncio
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import aiohttp
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from multidict import CIMultiDict

SAMPLE = Path(__file__).parents[2] / "samples" / "corpus.jsonl"
LOST = 0
"""Status of a request that got no response at all."""
_MOST_SECONDS = 120.0
_TIMES = ("X-Queue-Ms", "X-Tokenise-Ms", "X-Inference-Ms")


@dataclass(frozen=True)
class Load:
    """What is asked, how often, and for how long."""

    url: str
    seconds: float
    rate: float | None = None
    """Requests per second, at random moments (Poisson); None: every client asks again once it is answered."""
    clients: int = 1
    """Of those who ask again."""
    live: bool = False
    """Asks for GET /live, which does nothing, instead of answers."""
    row: int | None = None
    """Always this row of the sample; None draws one for every request."""
    seed: int = 7


@dataclass(frozen=True)
class Outcome:
    """Of one request."""

    at: float
    """Unix time when it was due."""
    ms: float
    """From then to the end of the response: a client that comes too late counts too."""
    status: int
    queue_ms: float = math.nan
    tokenise_ms: float = math.nan
    inference_ms: float = math.nan
    reason: str = ""


class Client:
    """Sends requests, and keeps what became of them."""

    def __init__(self, load: Load, session: aiohttp.ClientSession) -> None:
        self.outcomes: list[Outcome] = []
        self._load = load
        self._session = session
        self._bodies = [_body(row) for row in read_sample()]
        self._rng = np.random.default_rng(load.seed)

    async def run(self) -> None:
        """Sends all, and waits for the last."""
        if self._load.rate is None:
            await asyncio.gather(*(self._again_and_again() for _ in range(self._load.clients)))
            return
        started = time.time()
        async with asyncio.TaskGroup() as group:
            for moment in self._moments(self._load.rate):
                await asyncio.sleep(max(started + moment - time.time(), 0.0))
                group.create_task(self._send(started + moment))

    def _moments(self, rate: float) -> Iterator[float]:
        moment = self._rng.exponential(1 / rate)
        while moment < self._load.seconds:
            yield moment
            moment += self._rng.exponential(1 / rate)

    async def _again_and_again(self) -> None:
        until = time.time() + self._load.seconds
        while (now := time.time()) < until:
            await self._send(now)

    async def _send(self, due: float) -> None:
        late = time.time() - due
        started = time.perf_counter()
        status, headers, reason = LOST, CIMultiDict[str](), ""
        try:
            async with self._ask() as response:
                body = await response.read()
            status, headers = response.status, response.headers.copy()
            reason = "" if status == 200 else _reason(body)
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = type(error).__name__
        ms = (late + time.perf_counter() - started) * 1000
        queue, tokenise, inference = (float(headers.get(name, math.nan)) for name in _TIMES)
        self.outcomes.append(Outcome(due, ms, status, queue, tokenise, inference, reason))

    def _ask(self) -> "aiohttp.client._RequestContextManager":
        load = self._load
        if load.live:
            return self._session.get(load.url + "/live")
        body = self._bodies[self._rng.integers(len(self._bodies)) if load.row is None else load.row]
        return self._session.post(load.url + "/answer", data=body, headers={"Content-Type": "application/json"})


def read_sample() -> list[dict[str, str]]:
    """Rows with id, question and context."""
    return [
        {name: row[name] for name in ("id", "question", "context")}
        for row in map(orjson.loads, SAMPLE.read_bytes().splitlines())
    ]


def _body(row: dict[str, str]) -> bytes:
    return orjson.dumps({"inputs": [{"question": row["question"], "context": row["context"]}]})


def _reason(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["reason"])
    except (ValueError, KeyError, TypeError):
        return body[:80].decode(errors="replace")


async def _run(load: Load) -> list[Outcome]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=_MOST_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        client = Client(load, session)
        await client.run()
        return client.outcomes


def _main() -> None:
    load = Load(**json.loads(Path(sys.argv[1]).read_text()))
    outcomes = asyncio.run(_run(load))
    columns = {field.name: [getattr(outcome, field.name) for outcome in outcomes] for field in fields(Outcome)}
    pq.write_table(pa.table(columns), sys.argv[2])


if __name__ == "__main__":
    _main()
