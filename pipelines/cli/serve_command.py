"""The command `spanmill serve`; `pipelines.cli.serve`, which imports Ray Serve, runs the service."""

from typing import Annotated

import typer

from pipelines.cli.options import ConfigFile, ModelName, Overrides, with_options
from pipelines.config.loader import load_config
from pipelines.console import open_console

Host = Annotated[
    str | None, typer.Option("--host", metavar="ADDRESS", help="Listen there: sets http.host; 0.0.0.0 for all.")
]
Port = Annotated[int | None, typer.Option("--port", metavar="N", help="Listen on this port: sets http.port.")]


def serve(
    config: ConfigFile = None,
    model: ModelName = None,
    host: Host = None,
    port: Port = None,
    overrides: Overrides = None,
) -> None:
    """Answer and embed over HTTP: Hugging Face, OpenAI, Text Embeddings Inference and Open Inference routes.

    It runs on Ray Serve, on a local cluster or on the one that ray.address or RAY_ADDRESS names, until Ctrl-C or
    SIGTERM. Offline jobs can share its replicas: `spanmill answer ... --pool serve`. `spanmill config serve` prints
    every key; /docs lists the routes.
    """
    from pipelines.cli.serve import run_service
    from pipelines.config.service import ServeConfig

    options = {"model.name": model, "http.host": host, "http.port": port}
    run_service(load_config(ServeConfig, config, with_options(overrides, options)), open_console(stderr=True))
