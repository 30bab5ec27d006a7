"""The config of `spanmill export`: how the model is found, and how OUTPUT is reached."""

from actors.parameters import Settings


class ExportedModelParameters(Settings):
    """The model that is exported; MODEL names it."""

    revision: str | None = None
    """Branch, tag or commit of a hub id; null means the hub's main branch."""

    storage: dict[str, object] = {}
    """fsspec options (endpoint, credentials) for a model that is named by a URL."""


class ExportOutputParameters(Settings):
    """The folder that is written; OUTPUT names it."""

    storage: dict[str, object] = {}
    """fsspec options of OUTPUT. Never written to it."""


class ExportConfig(Settings):
    """`spanmill export`: all that is not an option of its own."""

    model: ExportedModelParameters = ExportedModelParameters()
    """Where the model comes from."""

    output: ExportOutputParameters = ExportOutputParameters()
    """Where the export goes."""
