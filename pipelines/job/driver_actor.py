"""A job's driver as an actor of the cluster, for a caller outside it: Ray Data does not run through Ray's client.

Its streams of results are generators, which the client (`ray://`) does not speak.
"""

import ctypes
import io
import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import QueueHandler
from typing import Any, Concatenate, ParamSpec, TypeVar

import ray
import ray.util.client
from ray.exceptions import RayActorError, RayError, RayTaskError
from rich.console import Console

from actors.errors import last_line
from pipelines.config.job import JobConfig
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.job.ray_cluster import address_of, cluster_of, connected_for

Words = ParamSpec("Words")
Result = TypeVar("Result")

_LOOK_SECONDS = 0.5
_STOP_SECONDS = 10.0
"""Longest that a call which was stopped is waited for, so that it can write what it has to say of that."""
_LOGGER = "spanmill"
_GOES_ON = "What is committed stays, and the same command goes on from there"


def is_outside(config: JobConfig) -> bool:
    """Whether this process is, or will be, connected to the job's cluster by Ray's client."""
    if ray.is_initialized():
        return bool(ray.util.client.ray.is_connected())  # type: ignore[no-untyped-call]
    return address_of(cluster_of(config)).startswith("ray://")


def in_cluster(
    call: Callable[Concatenate[Job, Console, Words], Result],
    job: Job,
    console: Console,
    *args: Words.args,
    **kwargs: Words.kwargs,
) -> Result:
    """Runs `call(job, console, ...)` in an actor of the job's cluster; what it prints and logs appears here.

    Where its node dies, another actor runs it again, as often as the job has rounds: what is committed stays.

    Raises:
        JobError: the cluster cannot be reached any more, or the nodes of all these actors died.
        Exception: what the call raised.
    """
    with connected_for(job.config):
        for _ in range(job.config.ray.passes):
            try:
                return _once(call, job, console, *args, **kwargs)
            except RayActorError:
                console.print("the node of the job's driver is lost; another one goes on", style="red")
            except ConnectionError as error:
                raise JobError(
                    f"the connection to {address_of(cluster_of(job.config))} is lost: {error}. {_GOES_ON}"
                ) from error
    raise JobError(f"the job's driver was lost with its node {job.config.ray.passes} times. {_GOES_ON}")


def _once(
    call: Callable[Concatenate[Job, Console, Words], Result],
    job: Job,
    console: Console,
    *args: Words.args,
    **kwargs: Words.kwargs,
) -> Result:
    # Without CPUs of its own: where actors hold all of them, it could never start. One thread runs the call, the other
    # gives what it has said.
    kind: Any = ray.remote(_Driver)
    driver = kind.options(num_cpus=0, max_concurrency=2).remote(
        console.width, console.is_terminal, logging.getLogger(_LOGGER).level
    )
    try:
        result = driver.run.remote(call, job, *args, **kwargs)
        _wait_for(driver, result, console)
        found: Result = ray.get(result)
    except RayTaskError as error:
        raise _raised(error) from None
    finally:
        # With it end the actors that it has made.
        ray.kill(driver)
    return found


def _wait_for(driver: Any, result: Any, console: Console) -> None:
    """Repeats what the driver says until its call has ended; Ctrl-C stops that first."""
    done: list[Any] = []
    try:
        while not done:
            done, _ = ray.wait([result], timeout=_LOOK_SECONDS)
            for said in ray.get(driver.said.remote()):
                _repeat(said, console)
    except KeyboardInterrupt:
        # Else the report would say for ever that the job runs.
        with suppress(RayError, ConnectionError):
            driver.stop.remote()
            ray.wait([result], timeout=_STOP_SECONDS)
        raise


def _raised(error: RayTaskError) -> Exception:
    """What the call raised. What it met of Ray's own errors must not be taken for the loss of its driver."""
    cause: Exception = error.cause
    if isinstance(cause, RayActorError | ConnectionError):
        return JobError(f"{type(cause).__name__}: {last_line(cause)}. {_GOES_ON}")
    return cause


def _repeat(said: str | logging.LogRecord, console: Console) -> None:
    if isinstance(said, logging.LogRecord):
        logging.getLogger(said.name).handle(said)
    elif not console.quiet:
        console.file.write(said)
        console.file.flush()


class _Driver:
    """Runs one call, and keeps what it prints and logs until somebody asks for it."""

    def __init__(self, width: int, is_terminal: bool, level: int) -> None:
        self._said: queue.SimpleQueue[str | logging.LogRecord] = queue.SimpleQueue()
        self._console = Console(
            file=_Queued(self._said), width=width, force_terminal=is_terminal, highlight=False, markup=False
        )
        logger = logging.getLogger(_LOGGER)
        logger.setLevel(level)
        logger.addHandler(QueueHandler(self._said))
        self._lock = threading.Lock()
        self._runs_in: int | None = None
        """The thread of the call; None where none runs."""

    def run(self, call: Callable[..., Result], job: Job, *args: Any, **kwargs: Any) -> Result:
        """What the call gives."""
        self._runs_in = threading.get_ident()
        try:
            return call(job, self._console, *args, **kwargs)
        except KeyboardInterrupt:
            raise JobError("stopped") from None
        finally:
            with self._lock:
                self._runs_in = None

    def stop(self) -> None:
        """Raises KeyboardInterrupt in the call, as Ctrl-C would where it ran in its own process."""
        with self._lock:
            if self._runs_in is not None:
                # No signal: Ray runs calls of such an actor beside the main thread, which alone hears signals.
                thread, kind = ctypes.c_ulong(self._runs_in), ctypes.py_object(KeyboardInterrupt)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, kind)

    def said(self) -> list[str | logging.LogRecord]:
        """What was printed and logged since somebody asked last."""
        found = []
        while not self._said.empty():
            found.append(self._said.get())
        return found


class _Queued(io.StringIO):
    """A file that hands over what is written to it."""

    def __init__(self, said: "queue.SimpleQueue[str | logging.LogRecord]") -> None:
        self._said = said

    def write(self, text: str) -> int:
        self._said.put(text)
        return len(text)
