"""The command that gives one model in many forms."""

from typing import Annotated

import typer

from pipelines.cli.options import EXPORTED_MODEL, OverwriteExport, published_in, set_option
from pipelines.cli.stop_signals import NOTHING_WRITTEN, STOPPED, saying
from pipelines.config.export import ExportConfig
from pipelines.config.loader import load_config
from pipelines.console import open_console
from pipelines.errors import ConfigError

Formats = Annotated[
    str | None,
    typer.Option(
        "--formats",
        metavar="NAME,...",
        help="safetensors, pytorch, rust, onnx, openvino, ctranslate2, tensorflow, or package.module:FORM. "
        "Without it, all that can be written here; float32 safetensors are always among them.",
    ),
]
Precisions = Annotated[
    str | None,
    typer.Option(
        "--precision", metavar="NAME,...", help="float32, float16, int8. Without it, all that each form can be in."
    ),
]
Encoder = Annotated[
    bool,
    typer.Option("--encoder", help="MODEL has no QA head: its forms give last_hidden_state alone, for embeddings."),
]
CheckFolder = Annotated[
    str | None,
    typer.Option("--check", metavar="FOLDER", help="Write nothing: compare the forms in an exported folder again."),
]
Rows = Annotated[
    str | None,
    typer.Option(
        "--rows",
        metavar="DATA",
        help="Questions, passages and answers to compare on, read as `spanmill evaluate` reads DATA; at most 400 "
        "rows of it. Without it, 24 rows that come with Spanmill.",
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, metavar="N", help="CPU threads with which forms are compared.")
]
Pythons = Annotated[
    list[str] | None,
    typer.Option(
        "--python",
        metavar="NAME=PATH",
        help="The Python of another environment that has the packages of form NAME, if this one lacks them: "
        "tensorflow=tf/bin/python; can be given again.",
    ),
]


def export(
    model: Annotated[str | None, EXPORTED_MODEL] = None,
    output: Annotated[str | None, published_in("the forms")] = None,
    formats: Formats = None,
    precision: Precisions = None,
    encoder: Encoder = False,
    overwrite: OverwriteExport = False,
    check: CheckFolder = None,
    rows: Rows = None,
    threads: Threads = None,
    pythons: Pythons = None,
    overrides: Annotated[list[str] | None, set_option("output.storage.endpoint_url=http://minio:9000")] = None,
) -> None:
    """Write a model in the forms that other runtimes read, each compared with torch before it is kept.

    OUTPUT is laid out as models on the Hugging Face hub are: config, tokenizer, weights and a card at the top, where
    transformers and Rust read them; onnx/ for ONNX Runtime and Transformers.js, openvino/, ctranslate2/, and
    saved_model/ for TensorFlow. Spanmill's own runtimes read these files, too, and need not convert the model.

    Each form is read back in its own runtime. Its logits and hidden states are compared with those of torch in float32,
    and its answers on the rows of --rows. A form that differs by more than its precision allows is not kept; the others
    are, and the exit code is 1. The card and _export.json say how far each differs, and the checksum of every file.

    OUTPUT is written as a whole at the end, or not at all. It takes minutes: for a small model about half a minute to
    write ONNX, seconds to write each of the others, and seconds to compare each; longer for larger models and more
    rows.

    Keys for --set: model.revision, model.storage, output.storage.
    """
    from actors.export.form import FORMS, ExportTools
    from pipelines.bench.environments import interpreters_of

    chosen = load_config(ExportConfig, None, overrides or [])
    tools = ExportTools(pythons=interpreters_of(pythons or [], list(FORMS)), threads=threads)
    console, notes = open_console(), open_console(stderr=True)

    def say(text: str) -> None:
        notes.print(text, style="dim", soft_wrap=True)

    if check is not None:
        if model is not None or formats or precision or overwrite or encoder:
            raise ConfigError(
                "--check looks at an exported folder and writes nothing; only --rows, --threads, --python and --set "
                "go with it"
            )
        from pipelines.export.checking import check_folder

        with saying(STOPPED):
            raise typer.Exit(check_folder(check, console, say, tools, rows, chosen.output.storage))
    if model is None or output is None:
        raise ConfigError("spanmill export needs MODEL and OUTPUT: spanmill export minilm-qa exported/")
    from actors.parameters import ModelParameters
    from pipelines.export import command

    request = command.Request(
        ModelParameters(name=model, revision=chosen.model.revision, storage=chosen.model.storage),
        output,
        chosen.output.storage,
        formats=_words(formats, "--formats"),
        precisions=_words(precision, "--precision"),
        overwrite=overwrite,
        as_encoder=encoder,
        rows=rows,
        tools=tools,
    )
    # Not `heard_at_any_moment`, which may end the process before what was written is removed.
    with saying(NOTHING_WRITTEN):
        raise typer.Exit(command.export(request, console, say))


def _words(text: str | None, option: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in (text or "").split(",") if word.strip())
    if text is not None and not words:
        raise ConfigError(f"{option} names nothing; leave it out to have all")
    return words
