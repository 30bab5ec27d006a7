"""The manifest of a training run, which binds an output folder to everything that changes the weights."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from functools import partial
from typing import Any

import orjson

from actors.training.parameters import TrainingParameters
from actors.training.student import TOKENIZER_FILES
from pipelines.config.training import FinetuneConfig
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import ManifestError, MissingError
from pipelines.output.manifest import changed_keys, flat_keys
from pipelines.output.parts import list_names
from pipelines.storage.filesystem import Store, create_exclusive, exists, read_bytes
from pipelines.storage.retry import attempt

RUN_MANIFEST_NAME = "_training.json"
COMPLETE = "config.json"
"""Written last: a folder without it holds no finished model."""

_LATER_KEYS = ("steps", "average_last")
"""Keys of `training` that earlier versions did not have. A manifest leaves them out where they have their defaults, so
that a run which an earlier version began goes on, and finds its checkpoints, whose names start with a hash of it."""

_MODEL_FILES = (COMPLETE, "*.safetensors", "*.safetensors.index.json", "README.md", *TOKENIZER_FILES)


@dataclass(frozen=True)
class TrainingManifest:
    """Everything that changes the weights of a run, as dotted key → value as JSON text."""

    keys: dict[str, str]

    @classmethod
    def of(
        cls, config: FinetuneConfig, base: str, teacher: str | None, data: Iterable[SourceFile], held_out: int
    ) -> "TrainingManifest":
        """The manifest of a run.

        Args:
            base, teacher: fingerprints of the models.
            data: the files to train on.
            held_out: number of held-out rows. It counts only where they are a share of the data, because then the rows
                to train on depend on it; held-out files of their own change no weight.
        """
        tree: dict[str, Any] = {
            "base": base,
            "teacher": teacher,
            "halve": config.halve,
            "data": {file.name: [file.size, file.version] for file in data},
            "held_out_share": None if config.data.held_out else config.data.held_out_share,
            "held_out": None if config.data.held_out else held_out,
            "qa": config.qa.model_dump(),
            "training": _training_keys(config.training),
            "output.dtype": config.output.dtype,
        }
        return cls({key: orjson.dumps(value).decode() for key, value in flat_keys(tree).items()})

    @property
    def run8(self) -> str:
        """First eight hex digits of a hash over all keys, with which the names of checkpoints start."""
        return hashlib.sha256(orjson.dumps(self.keys, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]


def _training_keys(parameters: TrainingParameters) -> dict[str, Any]:
    defaults = TrainingParameters()
    left_out = {key for key in _LATER_KEYS if getattr(parameters, key) == getattr(defaults, key)}
    return parameters.model_dump(exclude=left_out)


def bind_training(store: Store, manifest: TrainingManifest, overwrite: bool) -> bool:
    """Binds the output folder to a run, or checks that it is bound to the same one; True when the run is complete.

    Args:
        overwrite: remove the model or run that is there first.

    Raises:
        ManifestError: the folder belongs to another run, or holds a model that `spanmill finetune` did not make.
        StorageError: it cannot be read or written.
    """
    if overwrite:
        _discard(store)
    stored = _read(store)
    complete = exists(store.fs, store.path(COMPLETE))
    if stored == manifest:
        return complete
    if stored is not None or complete:
        raise ManifestError(_refusal(store, stored, manifest))
    data = orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2)
    create_exclusive(store.fs, store.path(RUN_MANIFEST_NAME), data)
    if _read(store) != manifest:
        raise ManifestError(f"{store.url}: another run began here at the same moment; name another OUTPUT")
    return False


def release_training(store: Store) -> None:
    """Unbinds a folder from a run that has written nothing but its manifest.

    Raises:
        StorageError: it cannot be written.
    """
    if exists(store.fs, store.path(RUN_MANIFEST_NAME)):
        attempt("removing files", store.url, partial(store.fs.rm, store.path(RUN_MANIFEST_NAME)))


def _discard(store: Store) -> None:
    """Removes a model and its manifest, the manifest last: after an interruption the folder still names its run."""
    names = list_names(store)
    files = [name for name in names if any(fnmatch(name, pattern) for pattern in _MODEL_FILES)]
    for group in ({COMPLETE} & set(names), set(files) - {COMPLETE}, {RUN_MANIFEST_NAME} & set(names)):
        if group:
            paths = [store.path(name) for name in sorted(group)]
            attempt("removing files", store.url, partial(store.fs.rm, paths))


def _read(store: Store) -> TrainingManifest | None:
    path = store.path(RUN_MANIFEST_NAME)
    try:
        return TrainingManifest(dict(orjson.loads(read_bytes(store.fs, path))["keys"]))
    except MissingError:
        return None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ManifestError(
            f"{path}: damaged ({error}); name another OUTPUT, or start anew with --overwrite"
        ) from error


def _refusal(store: Store, stored: TrainingManifest | None, manifest: TrainingManifest) -> str:
    mend = "Name another OUTPUT, or replace what is there with --overwrite."
    if stored is None:
        return f"{store.url}: holds a model already, and no {RUN_MANIFEST_NAME} that says how it was made. {mend}"
    lines = "".join(f"\n  {line}" for line in changed_keys(stored.keys, manifest.keys))
    return f"{store.url}: belongs to another training run. What differs, there -> now:{lines}\n{mend}"
