"""`spanmill view`: opens one output or two, and serves a page over them until Ctrl-C. Needs neither Ray nor a model."""

import webbrowser
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import STORES, set_option
from pipelines.cli.stop_signals import STOPPED, heard_at_any_moment
from pipelines.config.loader import load_config
from pipelines.config.view import ViewConfig
from pipelines.console import open_console
from pipelines.errors import ConfigError, ManifestError

_PACKAGES = ("duckdb", "uvicorn")
_KEYS = "A storage key: corpus.storage, output.storage or other.storage"

Output = Annotated[
    str, typer.Argument(metavar="OUTPUT", help=f"The output of a job: {STORES}, hf://, https://", show_default=False)
]
Other = Annotated[
    str | None,
    typer.Argument(metavar="OTHER", help="Another one, to compare row by row.", show_default=False),
]
_Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Listen there; others than this machine need SPANMILL_KEYS.")
]
_Port = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65535, metavar="N", help="Listen on this port; else 8010, or a free one."),
]


def view(
    output: Output,
    other: Other = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.yaml", help="The job's config; only its storage keys are looked at."),
    ] = None,
    overrides: Annotated[list[str] | None, set_option("output.storage.anon=true", _KEYS)] = None,
    host: _Host = "127.0.0.1",
    port: _Port = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Show the output of a job as a page in the browser: rows, quarantine, figures, and two outputs side by side.

    The page lists the rows of OUTPUT, searches and filters them, sorts them by score or any column, and shows one
    with its answer marked in the passage. The passage is the carried column (--set 'corpus.carry=[context]' when
    the job runs), or else it is read from the input, if that is still there as it was. With OTHER, rows are joined
    by id: which answers are equal, and how far scores differ.

    Attention is there where the job ran with --set 'output.columns=[answers, tokens, attention]'.

    Nothing is written. A job that still runs can be looked at: what it commits appears. It needs neither Ray nor the
    model, but pip install 'spanmill[view]', or '.[view]' in the folder of the clone.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(f"spanmill view needs {' and '.join(missing)}: pip install 'spanmill[view]'")
    stores = load_config(ViewConfig, config, overrides or [])
    console = open_console(stderr=True)
    with ExitStack() as opened:
        with heard_at_any_moment(STOPPED):
            # Packages of the extra among them, and HTTP's, which other commands can do without.
            from pipelines.cli.commands.page_keys import is_loopback, page_keys
            from pipelines.view.opening import open_page, outputs_of

            keys = page_keys(host)
            try:
                outputs = outputs_of(output, other, stores)
            except ManifestError as error:
                console.print(f"error: {error}", soft_wrap=True)
                raise typer.Exit(2) from error
            page = opened.enter_context(
                open_page(outputs, host, port, keys, console.print, any_host=not is_loopback(host))
            )

        def ready() -> None:
            console.print(f"ready: {page.url}")
            console.print("       open it in a browser; stop: Ctrl-C")
            if open_browser and not webbrowser.open(page.url):
                console.print("       no browser is found here: --open does nothing")

        page.serve(ready)
    console.print("stopped")
