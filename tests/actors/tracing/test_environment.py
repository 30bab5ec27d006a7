"""Traces are made where the variables ask for them, and nothing of the SDK is imported otherwise."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.tracing.environment import is_wanted, obstacle_in, tracing_here
from tests.otlp_receiver import Collector
from tests.tracing import VARIABLES

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_SERVICE_NAME": "mine", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs:4318"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "True"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "console, otlp"}, True),
    ],
)
def test_an_endpoint_asks_for_traces_unless_something_switches_them_off(
    variables: dict[str, str], wanted: bool
) -> None:
    assert is_wanted(variables) is wanted


def test_a_protocol_that_is_not_spoken_is_an_obstacle() -> None:
    assert obstacle_in(ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}) is None
    grpc = obstacle_in(ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert grpc is not None
    assert "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf" in grpc
    both = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
    assert obstacle_in(ENDPOINT | both) is None


_ASK = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "opentelemetry.exporter.otlp":
            raise ModuleNotFoundError(name)

if "--without-exporter" in sys.argv:
    sys.meta_path.insert(0, Missing())

from actors.parameters import EmbeddingParameters, QAParameters
from actors.serving.gateway.app import build_app
from actors.serving.gateway.context import Context
from actors.serving.key_parameters import KeyParameters
from actors.serving.parameters import CorsParameters, LimitParameters
from actors.serving.replica.request_trace import RequestTrace
from actors.serving.types import Request
from actors.tracing.environment import tracing_here
from pipelines.stages.base import ShardStage
from pipelines.stages.tracing import new_shard, traced_job

tracing = tracing_here()
context = Context(None, LimitParameters(), QAParameters(), EmbeddingParameters(), "a model")
build_app(context, KeyParameters(none=True), CorsParameters(), tracing=tracing).build_middleware_stack()
assert RequestTrace.begin(tracing, Request("id", "embed", ("a text",))) is None
with traced_job("0123", "answer") as trace:
    assert new_shard(trace.context, 1) == ("", 0)
heavy = ("opentelemetry.sdk", "opentelemetry.exporter.otlp")
print(tracing, sorted(name for name in sys.modules if name.startswith(heavy)))
"""


def _ask(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", _ASK, *words],
        env=clean | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize("variables", [{}, ENDPOINT | {"OTEL_SDK_DISABLED": "true"}])
def test_off_it_imports_nothing_of_the_sdk(variables: dict[str, str]) -> None:
    done = _ask(**variables)
    assert done.stdout.strip() == "None []"
    assert done.stderr == ""


def test_without_the_exporter_one_warning_says_what_to_install_and_the_work_goes_on() -> None:
    done = _ask("--without-exporter", **ENDPOINT)
    assert done.stdout.strip() == "None []"
    assert done.stderr.count("pip install 'spanmill[otel]'") == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.usefixtures("traced_process")
def test_a_process_makes_its_tracing_once() -> None:
    assert tracing_here() is not None
    assert tracing_here() is tracing_here()


def test_a_value_that_the_sdk_cannot_use_is_a_warning(
    traced_process: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with caplog.at_level(logging.WARNING, "spanmill.traces"):
        assert tracing_here() is None
    [record] = [record for record in caplog.records if record.name == "spanmill.traces"]
    assert record.getMessage().startswith("no traces are exported: ValueError: ")
