"""`spanmill bundle`: a repository that Hugging Face's Inference Endpoints run as it is, without Ray."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from rich.console import Console

from actors.backends.converted.conversion_cache import names_head
from actors.backends.fingerprint import MODEL_TEXTS
from actors.errors import ModelError, first_line
from actors.export.endpoint_settings import SETTINGS, EndpointSettings, EndpointTask, write_settings
from actors.models.hub import find_model
from actors.models.names import public_name
from actors.parameters import EmbeddingParameters, ModelParameters, QAParameters
from actors.registry import RUNTIMES
from actors.version import release
from pipelines.errors import ConfigError
from pipelines.export.bundle import trial
from pipelines.export.bundle.card import SourceCard, bundle_card
from pipelines.export.bundle.import_closure import Closure, import_closure
from pipelines.export.publishing import Say, check_apart, published
from pipelines.export.source_card import CARD, card_text
from pipelines.storage.url import Url
from pipelines.templates import render

MODULES = "spanmill_modules"
"""The folder of a bundle that holds the modules of its handler."""
HANDLER, REQUIREMENTS = "handler.py", "requirements.txt"
_OWN = (CARD, HANDLER, REQUIREMENTS, SETTINGS)
"""Written anew, also where the model's folder, which may be a bundle, has them."""
_LICENSES = ("LICENSE*", "NOTICE*")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""As transformers looks for them: each whole, or in parts that an index lists."""
_TOKENIZER = "tokenizer_config.json"


@dataclass(frozen=True)
class Request:
    """What is to be bundled."""

    model: ModelParameters
    """Its name, revision, storage and precision."""
    output: str
    """A local folder, any fsspec URL, or `hf://user/name`."""
    storage: Mapping[str, object] = field(default_factory=dict)
    """fsspec options of `output`."""
    task: EndpointTask | None = None
    """None takes question-answering where the model has a QA head, else feature-extraction."""
    qa: QAParameters = field(default_factory=QAParameters)
    embedding: EmbeddingParameters = field(default_factory=EmbeddingParameters)
    max_inputs: int = 256
    overwrite: bool = False


def bundle(request: Request, console: Console, say: Say) -> None:
    """Writes OUTPUT, once its handler has run.

    Args:
        console: for the result.
        say: for progress.

    Raises:
        ConfigError: OUTPUT is taken, the model has no QA head for the task, or its card cannot be read.
        ModelError: the model cannot be used.
        StorageError: OUTPUT cannot be written.
    """
    folder = find_model(request.model)
    check_apart(folder, request.output, request.storage)
    settings = _settings(request, folder)
    weights = weights_to_copy(folder)
    card = SourceCard.parse(_card_text(request.model, folder, say), settings.source)
    if card.task not in (None, settings.task):
        say(f"{CARD}: pipeline_tag becomes {settings.task}, where the model's card says {card.task}; all else is kept")
    with published(request.output, request.storage, request.overwrite, say) as output:
        _copy_model(folder, weights, output)
        _write_modules(handler_closure(), output / MODULES)
        values = {"release": release(), "modules": MODULES, "settings": SETTINGS}
        for name in (HANDLER, REQUIREMENTS):
            (output / name).write_text(render("pipelines.export", f"bundle_{name}.j2", values), encoding="utf-8")
        write_settings(output, settings)
        (output / CARD).write_text(bundle_card(card, settings, MODULES), encoding="utf-8")
        say("trying the handler in a process of its own")
        _try_handler(output)
        size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) / 1e6
    console.print(f"{Url(request.output)}: {size:,.1f} MB, an endpoint for {settings.task}", soft_wrap=True)


def handler_closure() -> Closure:
    """The modules that a handler needs, those of the torch runtime among them, which are found by their name."""
    runtime = RUNTIMES["torch"].partition(":")[0]
    return import_closure(("actors.export.handler", runtime), own="actors")


def weights_to_copy(folder: Path) -> list[Path]:
    """The weights that transformers reads of a folder, with the index of those in parts.

    Raises:
        ModelError: there are none, or not all.
    """
    for name in _WEIGHTS:
        whole, index = folder / name, folder / f"{name}.index.json"
        if whole.is_file():
            return [whole]
        if index.is_file():
            return [index, *_parts(index)]
    raise ModelError(f"{folder} holds no weights: neither {' nor '.join(_WEIGHTS)}; copy the whole model there")


def _parts(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{index} cannot be read: {first_line(error)}; copy the model again") from error
    for name in names:
        if not isinstance(name, str) or "/" in name or not (index.parent / name).is_file():
            raise ModelError(f"{index} lists {name}, which is not beside it; copy the whole model there")
    return [index.parent / name for name in names]


def _settings(request: Request, folder: Path) -> EndpointSettings:
    # Not where it lies: the bundle is for others to read.
    has_head, name = names_head(folder), public_name(str(Url(request.model.name)))
    if request.task == "question-answering" and not has_head:
        raise ConfigError(
            f"--task question-answering: the config of {name} names no QA head; name a model that was fine-tuned for "
            "question answering, or leave --task out to have its embeddings"
        )
    return EndpointSettings(
        task=request.task or ("question-answering" if has_head else "feature-extraction"),
        precision=request.model.precision,
        qa=request.qa,
        embedding=request.embedding,
        max_inputs=request.max_inputs,
        spanmill=release(),
        source=name,
    )


def _card_text(model: ModelParameters, folder: Path, say: Say) -> str:
    """The model's card; nothing where it has none, or where it cannot be had."""
    try:
        return card_text(model, folder)
    except FileNotFoundError:
        return ""
    except Exception as error:  # every store raises its own kind
        say(f"the card of {Url(model.name)} cannot be read, and a new one is written: {first_line(error)}")
        return ""


def _copy_model(folder: Path, weights: list[Path], output: Path) -> None:
    for path in {*weights, *_texts(folder)}:
        shutil.copyfile(path, output / path.name)
    tokenizer = output / _TOKENIZER
    if tokenizer.is_file():
        tokenizer.write_text(json.dumps(_for_transformers_4(_read_tokenizer(tokenizer)), indent=2, ensure_ascii=False))


def _texts(folder: Path) -> Iterator[Path]:
    """Config, tokenizer and licenses."""
    for pattern in (*MODEL_TEXTS, *_LICENSES):
        for path in folder.glob(pattern):
            # What begins with a line says something of the folder, as `_export.json` does.
            if path.is_file() and not path.name.startswith("_") and path.name not in _OWN:
                yield path


def _read_tokenizer(place: Path) -> dict[str, Any]:
    try:
        settings = json.loads(place.read_bytes())
    except ValueError as error:
        raise ModelError(f"{_TOKENIZER} cannot be read: {first_line(error)}; copy the model again") from error
    if not isinstance(settings, dict):
        raise ModelError(f"{_TOKENIZER} holds no object; copy the model again")
    return settings


def _for_transformers_4(settings: dict[str, Any]) -> dict[str, Any]:
    """The same tokenizer in words that transformers 4 and 5 both know, for the image of an endpoint has 4.

    Transformers 5 writes the name of its own base class, and special tokens of one's own as a list; transformers 4 has
    another name for the class, and takes a list under another name.
    """
    known = dict(settings)
    if known.get("tokenizer_class") == "TokenizersBackend":
        known["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(known.get("extra_special_tokens"), list):
        known["additional_special_tokens"] = known.pop("extra_special_tokens")
    return known


def _write_modules(closure: Closure, folder: Path) -> None:
    for module in closure.modules:
        target = folder / module.place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module.file, target)
    try:
        text = distribution("spanmill").read_text("licenses/LICENSE")
    except PackageNotFoundError:
        text = None  # the code came without its package, and so without its license
    if text is not None:
        (folder / "LICENSE").write_text(text, encoding="utf-8")


def _try_handler(folder: Path) -> None:
    """Makes the handler, which computes a pass, where nothing of Spanmill but the bundle is at hand.

    Raises:
        ModelError: it cannot be made.
    """
    # Without -B its bytecode would be in the bundle. In a session of its own, since Ctrl-C is for this command to hear.
    done = subprocess.run(
        (sys.executable, "-B", "-P", trial.__file__, str(folder)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    first = next(iter(done.stdout.splitlines()), "{}")
    said = json.loads(first) if first.startswith("{") else {}
    if done.returncode or "reply" not in said:
        lines = done.stderr.strip().splitlines() or [f"the process ended with exit code {done.returncode}"]
        reason = str(said.get("error", lines[-1])).replace(f"{folder}/", "").replace(str(folder), "the bundle")
        raise ModelError(f"the handler of the bundle does not run: {reason}")
