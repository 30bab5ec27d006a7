"""The command that makes a repository for Inference Endpoints of a model."""

from typing import Annotated

import typer

from actors.export.endpoint_settings import EndpointTask
from pipelines.cli.options import EXPORTED_MODEL, OverwriteExport, published_in, set_option
from pipelines.cli.stop_signals import NOTHING_WRITTEN, saying
from pipelines.config.bundle import BundleConfig
from pipelines.config.loader import load_config
from pipelines.console import open_console

Task = Annotated[
    EndpointTask | None,
    typer.Option(
        "--task",
        help="question-answering loads the QA head, and embeds as well; feature-extraction embeds only. Without it, "
        "the first if the model has a QA head, else the second.",
    ),
]


def bundle(
    model: Annotated[str, EXPORTED_MODEL],
    output: Annotated[str, published_in("the bundle")],
    task: Task = None,
    overwrite: OverwriteExport = False,
    overrides: Annotated[list[str] | None, set_option("qa.handle_impossible_answer=true")] = None,
) -> None:
    """Write a repository for Hugging Face's Inference Endpoints, which answers questions and embeds texts.

    OUTPUT holds the model, handler.py with the EndpointHandler that endpoints call, the modules of Spanmill that it
    needs (neither Spanmill nor Ray is installed there), requirements.txt, and the model's card with how to ask. Push it
    to the hub and deploy it there, or serve it on a machine of your own with huggingface-inference-toolkit.

    The handler is tried in a process of its own before anything is in OUTPUT. Keys for --set: those of qa and embedding
    are the endpoint's defaults for what a request does not set; max_inputs, model.precision, model.revision,
    model.storage, output.storage.
    """
    from actors.parameters import ModelParameters
    from pipelines.export.bundle import bundle as bundling

    chosen = load_config(BundleConfig, None, overrides or [])
    notes = open_console(stderr=True)
    request = bundling.Request(
        ModelParameters(
            name=model,
            revision=chosen.model.revision,
            storage=chosen.model.storage,
            precision=chosen.model.precision,
        ),
        output,
        chosen.output.storage,
        task=task,
        qa=chosen.qa,
        embedding=chosen.embedding,
        max_inputs=chosen.max_inputs,
        overwrite=overwrite,
    )
    # Not `heard_at_any_moment`, which may end the process before what was written is removed.
    with saying(NOTHING_WRITTEN):
        bundling.bundle(request, open_console(), lambda line: notes.print(line, style="dim", soft_wrap=True))
