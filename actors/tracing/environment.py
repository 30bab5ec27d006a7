"""Whether traces are wanted, by OpenTelemetry's environment variables; decided once in every process.

Nothing of OpenTelemetry is imported before that.
"""

import logging
import os
import threading
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.tracing.tracing import Tracing

LOGGER = logging.getLogger("spanmill.traces")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"
_making = threading.Lock()


def tracing_here() -> "Tracing | None":
    """The tracing of this process, made when it is asked for first; None where no traces are wanted or possible.

    Where they are wanted and not possible, a warning of the logger `spanmill.traces` says why, once.
    """
    # Several threads of a model actor may ask for it first.
    with _making:
        return _made()


@cache
def _made() -> "Tracing | None":
    if not is_wanted(os.environ):
        return None
    obstacle = obstacle_in(os.environ)
    if obstacle is not None:
        LOGGER.warning("%s", obstacle)
        return None
    try:
        from actors.tracing.tracing import Tracing

        return Tracing.from_environment()
    except Exception as error:  # whatever is wrong with a variable or a package, the work must go on
        LOGGER.warning("no traces are exported: %s: %s; see to the OTEL_ variables", type(error).__name__, error)
        return None


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether traces are to be exported: an OTLP endpoint is set, and nothing switches the SDK or its exporter off."""
    if _first_of(environ, ("OTEL_SDK_DISABLED",)).lower() == "true":
        return False
    exporters = _first_of(environ, ("OTEL_TRACES_EXPORTER",))
    if exporters and "otlp" not in map(str.strip, exporters.split(",")):
        return False
    return bool(_first_of(environ, _ENDPOINTS))


def obstacle_in(environ: Mapping[str, str]) -> str | None:
    """Why traces that are wanted cannot be exported, and what to do about it; None where they can."""
    protocol = _first_of(environ, _PROTOCOLS) or _PROTOCOL
    if protocol != _PROTOCOL:
        return (
            f"no traces are exported: the OTLP protocol is {protocol!r}, and Spanmill speaks {_PROTOCOL}; set "
            f"{_PROTOCOLS[0]}={_PROTOCOL}, and the endpoint to the collector's HTTP port, usually 4318"
        )
    try:
        is_there = find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:
        is_there = False
    if not is_there:
        return (
            "no traces are exported: an OTLP endpoint is set, and the exporter is not installed; "
            "pip install 'spanmill[otel]', or unset the endpoint"
        )
    return None


def _first_of(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    """The first of these variables that is set; by OpenTelemetry's rule, an empty one is not."""
    return next((value for value in (environ.get(name, "").strip() for name in names) if value), "")
