"""Online requests at a steady rate, as a load balancer sends them: where a host takes no connection, the next one."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2

BODY = {"context": "Ada Lovelace was born in London in 1815.", "question": "Where was Ada Lovelace born?"}
ANSWER = "London"
_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 150.0
"""More than the deadline that the service gives to a request, so that it is the service that says no."""


@dataclass(frozen=True)
class Request:
    """A request that has ended; times are seconds of `time.monotonic`."""

    began: float
    ended: float
    error: str
    """Empty where the answer came."""


@dataclass
class Load:
    """Requests in an open loop: the next one is sent when its time has come, whatever became of the others."""

    hosts: Sequence[str]
    """URLs of HTTP proxies, each as good as the other."""
    key: str
    per_second: float
    done: list[Request] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Sends until it is stopped, and waits for what is on its way then."""
        asyncio.run(self._run())

    def stop(self) -> None:
        """Lets `run` end."""
        self._stop.set()

    def since(self, moment: float) -> "list[Request]":
        """Requests that ended after a moment, by `time.monotonic`."""
        return [request for request in self.done if request.ended >= moment]

    def failed(self) -> list[Request]:
        """Requests without an answer."""
        return [request for request in self.done if request.error]

    async def _run(self) -> None:
        timeout = httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        # A connection each: one that is kept open would lead to a host that is gone.
        limits = httpx2.Limits(max_keepalive_connections=0)
        headers = {"Authorization": f"Bearer {self.key}"}
        async with (
            httpx2.AsyncClient(timeout=timeout, limits=limits, headers=headers) as client,
            asyncio.TaskGroup() as group,
        ):
            number = 0
            while not self._stop.is_set():
                group.create_task(self._ask(client, number))
                number += 1
                await asyncio.sleep(1 / self.per_second)

    async def _ask(self, client: httpx2.AsyncClient, number: int) -> None:
        began = time.monotonic()
        error = await self._error(client, number)
        self.done.append(Request(began, time.monotonic(), error))

    async def _error(self, client: httpx2.AsyncClient, number: int) -> str:
        error = ""
        for turn in range(len(self.hosts)):
            host = self.hosts[(number + turn) % len(self.hosts)]
            try:
                response = await client.post(f"{host}/answer", json=BODY)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as refused:
                error = f"{host}: {refused!r}"
                continue
            except httpx2.TransportError as lost:
                return f"{host}: {lost!r}"
            is_right = response.status_code == 200 and response.json()["answers"][0][0]["answer"] == ANSWER
            return "" if is_right else f"{host}: {response.status_code} {response.text[:200]}"
        return error


@contextmanager
def asking(hosts: Sequence[str], key: str, per_second: float = 2.0) -> Iterator[Load]:
    """Sends requests while the block runs; behind it all of them have ended."""
    load = Load(hosts, key, per_second)
    thread = threading.Thread(target=load.run, name="load")
    thread.start()
    try:
        yield load
    finally:
        load.stop()
        thread.join()
