"""`spanmill serve`: starts the service on Ray Serve, and stops it once the requests in hand are finished."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
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
from actors.serving.deployments import APPLICATION, bind, deployment_names, what_does_not_fit
from actors.serving.model_card import describe_each
from actors.serving.parameters import ServedModel, ServiceParameters
from actors.serving.types import ModelCard
from actors.serving.version_check import service_versions
from actors.tracing.environment import is_wanted, obstacle_in
from pipelines.cli.commands.page_keys import is_loopback
from pipelines.cli.commands.service_keys import keys_of
from pipelines.cli.stop_signals import heard_at_any_moment
from pipelines.config.loader import check_config
from pipelines.config.service import ServeConfig
from pipelines.errors import ConfigError, JobError
from pipelines.job.nodes.check import (
    ask,
    away_from,
    check_some_left,
    findings,
    living_nodes,
    model_questions,
    refused_ids,
)
from pipelines.job.nodes.facts import Questions, WantedFile
from pipelines.job.ray_cluster import address_of, check_free, connected
from pipelines.job.service_discovery import announced
from pipelines.job.side_process import in_side_process
from pipelines.storage.filesystem import resolve

_LOOK_SECONDS = 0.1
_SAY_EVERY_SECONDS = 10.0
_NOT_READY = "stopped before the service was ready; nothing of it runs any more"


def run_service(config: ServeConfig, console: Console) -> None:
    """Serves until Ctrl-C or SIGTERM. One that comes before the service is ready takes down what was started.

    Raises:
        Stopped: it was stopped before it was ready.
        ModelError: a model cannot be found or used.
        ConfigError: the port is taken, other machines could ask without a key, two models have the same name, or this
            machine has no room for all replicas.
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
    cards = in_side_process(describe_each, service.served())
    # Decided once, so that all replicas have the same, whatever machines they come to lie on.
    service = service.with_served([_pinned(one, card) for one, card in zip(service.served(), cards, strict=True)])
    is_local = address_of(config.ray) == "local"
    if is_local:
        check_free(config.http.port, "http.port", config.http.host)
    if service.keys.none and not is_loopback(config.http.host):
        console.print(f"no keys are wanted: whoever reaches port {config.http.port} of this machine may ask")
    _warn_of_lost_traces(console)
    started.enter_context(connected(config.ray, models=[one.model.name for one in config.served()]))
    if not is_local and not serve.status().proxies:
        # Otherwise the cluster's Ray Serve may listen there, which an earlier `spanmill serve` has left.
        check_free(config.http.port, "http.port", config.http.host)
    _check_room(config, service, console)
    started.enter_context(_announced(config))
    runtimes = " and ".join(f"{card.name}, with {card.backend} in {card.dtype}" for card in cards)
    console.print(f"starting Ray Serve and {runtimes} ...")
    try:
        _deploy(config, service, _placement(config, console))
    except BaseException:
        _give_up(config)
        raise


def _pinned(one: ServedModel, card: ModelCard) -> ServedModel:
    return one.model_copy(update={"model": Candidate(card.backend, card.dtype).of(one.model)})


def _check_room(config: ServeConfig, service: ServiceParameters, console: Console) -> None:
    """Says where there is no room for all replicas; raises ConfigError where no machine can come that has some."""
    missing = what_does_not_fit(service)
    if missing is None:
        return
    mend = "lower replicas.cpus, replicas.gpus or replicas.min, of one model in its entry of models"
    if address_of(config.ray) == "local":
        raise ConfigError(f"replicas: {missing}; {mend}")
    console.print(f"{missing}; the service is not ready until machines join that have it, or {mend}", markup=False)


def _placement(config: ServeConfig, console: Console) -> Mapping[str, Any]:
    """Which nodes the replicas stay away from: those with other versions, or from which a model cannot be read."""
    if address_of(config.ray) == "local":
        return {}
    nodes = [node for node in living_nodes() if node.can_work]
    questions = _joined([model_questions(one.model) for one in config.served()])
    found = findings(ask(nodes, questions), questions)
    for finding in found:
        console.print(f"warning: {finding}", soft_wrap=True, markup=False)
    check_some_left(nodes, found)
    return away_from(refused_ids(found))


def _joined(each: Sequence[Questions]) -> Questions:
    """The questions of all models as one, so that every node is asked once; folders are looked for as files are."""
    packages = dict.fromkeys(package for questions in each for package in questions.packages)
    folders = [resolve(questions.model_folder) for questions in each if questions.model_folder is not None]
    files = [file for questions in each for file in questions.files]
    files += [WantedFile("the model", folder, folder.root) for folder in folders]
    return Questions(tuple(packages), None, tuple(files))


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


def _deploy(config: ServeConfig, service: ServiceParameters, placement: Mapping[str, Any]) -> None:
    quiet: Any = LoggingConfig(log_level="WARNING", enable_access_log=False)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    options, served = HTTPOptions(host=config.http.host, port=config.http.port), service.served()
    versions = service_versions(sends_code=address_of(config.ray) != "local")
    try:
        serve.start(http_options=options, logging_config=quiet)
        serve.run(bind(service, versions, placement), name=APPLICATION, route_prefix="/", logging_config=quiet)
    except (RuntimeError, RayServeException, RayError) as error:
        names = dict(zip(deployment_names(served), (one.public_name for one in served), strict=True))
        raise JobError(f"the service could not be started: {_cause(error, _messages(), names)}") from error


def _messages() -> dict[str, str]:
    """What Ray Serve says of the application's deployments, by their names."""
    application = serve.status().applications.get(APPLICATION)
    return {name: one.message for name, one in application.deployments.items()} if application else {}


def _cause(error: Exception, messages: Mapping[str, str], models: Mapping[str, str]) -> str:
    """Why the service did not start, and with which of several models.

    Args:
        models: names of the models by those of their deployments.
    """
    failed = next((name for name in models if "rror" in messages.get(name, "")), None)
    if failed is None or len(models) == 1:
        return _why(error, list(messages.values()))
    return f"model {models[failed]}: {_why(error, [messages[failed]])}"


def _why(error: Exception, messages: Sequence[str]) -> str:
    """The cause: the last line of a deployment's message, which is that of the exception in its replica."""
    said = [message for message in messages if "rror" in message] or [str(error)]
    lines = [line.strip() for line in said[0].splitlines() if line.strip() and "retr" not in line]
    return next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else type(error).__name__)


def service_of(config: ServeConfig) -> ServiceParameters:
    """The parameters of the application: names of models that all machines find, and who may ask.

    Raises:
        ConfigError: other machines could ask without a key, the keys cannot be read, or two models that lie in folders
            beside this process have the same name.
    """
    found = config.with_served([_found_from_anywhere(one) for one in config.served()])
    fields = {name: getattr(found, name) for name in ServiceParameters.model_fields}
    return check_config(ServiceParameters, fields | {"keys": keys_of(config)})


def _found_from_anywhere(one: ServedModel) -> ServedModel:
    return one.model_copy(update={"model": one.model.model_copy(update={"name": from_anywhere(one.model.name)})})


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
