"""The fixtures of traces."""

from tests.tracing import collector as collector
from tests.tracing import traced_process as traced_process
from tests.tracing import tracing as tracing
