"""`spanmill serve`: starts the service on Ray Serve, and stops it once the requests in hand are finished."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions
from ray.serve.exceptions import RayServeException
from ray.serve.schema import LoggingConfig
from rich.console import Console

from actors.models.hub import from_anywhere
from actors.models.runtime_choice import Candidate
from actors.serving.deployments import APPLICATION, bind
from actors.serving.model_card import describe_named
from actors.serving.parameters import ServiceParameters
from actors.tracing.environment import is_wanted, obstacle_in
from pipelines.cli.commands.page_keys import is_loopback
from pipelines.cli.commands.service_keys import keys_of
from pipelines.cli.stop_signals import heard_at_any_moment
from pipelines.config.service import ServeConfig
from pipelines.errors import JobError
from pipelines.job.ray_cluster import address_of, check_free, connected
from pipelines.job.service_discovery import announced
from pipelines.job.side_process import in_side_process

_LOOK_SECONDS = 0.1
_SAY_EVERY_SECONDS = 10.0
_NOT_READY = "stopped before the service was ready; nothing of it runs any more"


def run_service(config: ServeConfig, console: Console) -> None:
    """Serves until Ctrl-C or SIGTERM. One that comes before the service is ready takes down what was started.

    Raises:
        Stopped: it was stopped before it was ready.
        ModelError: the model cannot be found or used.
        ConfigError: the port is taken, or other machines could ask without a key.
        JobError: Ray or the application cannot be started.
    """
    with ExitStack() as started:
        with heard_at_any_moment(_NOT_READY):
            _start(config, console, started)
        try:
            stopped = started.enter_context(_stopped())
            console.print(f"ready: http://{config.http.host}:{config.http.port}")
            console.print("       open it in a browser; routes: /docs, stop: Ctrl-C")
            # Again and again: a signal just before a wait without an end would be heard only with the next one.
            while not stopped.wait(5.0):
                pass
            console.print("stopping: what is in hand is finished first ...")
        finally:
            _drain(console)
        console.print("stopping: Ray ends ...")
    console.print("stopped")


def _drain(console: Console) -> None:
    """Replicas finish the requests that they have, and take no new ones; says every now and then that it goes on."""
    # Ray Serve's own wait looks once a second, and gives up after a minute; replicas may take longer than that.
    serve.delete(APPLICATION, _blocking=False)
    said = time.monotonic()
    while APPLICATION in serve.status().applications:
        if time.monotonic() - said >= _SAY_EVERY_SECONDS:
            said = time.monotonic()
            console.print("stopping: replicas still finish requests; Ctrl-C again breaks them off")
        time.sleep(_LOOK_SECONDS)


def _announced(config: ServeConfig) -> AbstractContextManager[None]:
    """Announces a local cluster to the jobs of this machine; they know the address of any other cluster already."""
    is_local = address_of(config.ray) == "local"
    return announced(ray.get_runtime_context().gcs_address) if is_local else nullcontext()


def _start(config: ServeConfig, console: Console, started: ExitStack) -> None:
    """Starts what the service runs on, which ends with `started`, and the service."""
    service = service_of(config)
    # It takes torch to read a model's config and tokenizer, which this process would hold for as long as it serves.
    card = in_side_process(describe_named, service.model, service.model.on_gpu(service.replicas.gpus > 0))
    # Decided once, so that all replicas have the same, whatever machines they come to lie on.
    pinned = Candidate(card.backend, card.dtype).of(service.model)
    service = service.model_copy(update={"model": pinned})
    is_local = address_of(config.ray) == "local"
    if is_local:
        check_free(config.http.port, "http.port", config.http.host)
    if service.keys.none and not is_loopback(config.http.host):
        console.print(f"no keys are wanted: whoever reaches port {config.http.port} of this machine may ask")
    _warn_of_lost_traces(console)
    started.enter_context(connected(config.ray, models=(config.model.name,)))
    if not is_local and not serve.status().proxies:
        # Otherwise the cluster's Ray Serve may listen there, which an earlier `spanmill serve` has left.
        check_free(config.http.port, "http.port", config.http.host)
    started.enter_context(_announced(config))
    console.print(f"starting Ray Serve and {card.name}, with {card.backend} in {card.dtype} ...")
    try:
        _deploy(config, service)
    except BaseException:
        _give_up(config)
        raise


def _warn_of_lost_traces(console: Console) -> None:
    """Says it where traces are wanted and cannot be exported; gateway and replicas say it in Ray's logs only."""
    obstacle = obstacle_in(os.environ) if is_wanted(os.environ) else None
    if obstacle is not None:
        console.print(obstacle, markup=False)


def _give_up(config: ServeConfig) -> None:
    """Takes back an application that is not ready; a local cluster ends with all that runs on it."""
    if address_of(config.ray) != "local":
        with suppress(Exception):
            serve.delete(APPLICATION, _blocking=False)


def _deploy(config: ServeConfig, service: ServiceParameters) -> None:
    quiet: Any = LoggingConfig(log_level="WARNING", enable_access_log=False)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    options = HTTPOptions(host=config.http.host, port=config.http.port)
    try:
        serve.start(http_options=options, logging_config=quiet)
        serve.run(bind(service), name=APPLICATION, route_prefix="/", logging_config=quiet)
    except (RuntimeError, RayServeException, RayError) as error:
        raise JobError(f"the service could not be started: {_why(error, _messages())}") from error


def _messages() -> list[str]:
    """What Ray Serve says of the application's deployments."""
    application = serve.status().applications.get(APPLICATION)
    return [deployment.message for deployment in application.deployments.values()] if application else []


def _why(error: Exception, messages: Sequence[str]) -> str:
    """The cause: the last line of a deployment's message, which is that of the exception in its replica."""
    said = [message for message in messages if "rror" in message] or [str(error)]
    lines = [line.strip() for line in said[0].splitlines() if line.strip() and "retr" not in line]
    return next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else type(error).__name__)


def service_of(config: ServeConfig) -> ServiceParameters:
    """The parameters of the application: a model name that all machines find, and who may ask.

    Raises:
        ConfigError: other machines could ask without a key, or the keys cannot be read.
    """
    model = config.model.model_copy(update={"name": from_anywhere(config.model.name)})
    fields = {name: getattr(config, name) for name in ServiceParameters.model_fields}
    return ServiceParameters(**fields | {"model": model, "keys": keys_of(config)})


@contextmanager
def _stopped() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second Ctrl-C breaks off as usual."""
    event = threading.Event()

    def stop(number: int, _: object) -> None:
        event.set()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
