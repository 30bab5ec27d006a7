"""What pins an output folder to one training run: everything that changes its weights."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from pipelines.corpus import SourceFile
from pipelines.errors import ManifestError, MissingError
from pipelines.manifest import flat_keys
from pipelines.storage import Store, create_exclusive, exists, read_bytes, write_atomic
from pipelines.training_config import FinetuneConfig

PIN_NAME = "_training.json"
_COMPLETE = "config.json"
"""Written last: a folder without it is no model yet."""


@dataclass(frozen=True)
class Pin:
    """Dotted key → value as JSON text."""

    keys: dict[str, str]

    @classmethod
    def of(
        cls, config: FinetuneConfig, base: str, teacher: str | None, data: Iterable[SourceFile], held_out: int
    ) -> "Pin":
        """The pin of a run.

        Args:
            base, teacher: fingerprints.
            data: the files that are learnt from.
            held_out: rows that are held out; where they are a share of the data, the rest depends on it.
        """
        tree: dict[str, Any] = {
            "base": base,
            "teacher": teacher,
            "halve": config.halve,
            "data": {file.name: [file.size, file.version] for file in data},
            "held_out_share": None if config.data.held_out else config.data.held_out_share,
            "held_out": held_out,
            "qa": config.qa.model_dump(),
            "training": config.training.model_dump(),
        }
        return cls({key: orjson.dumps(value).decode() for key, value in flat_keys(tree).items()})

    @property
    def run8(self) -> str:
        """The start of a hash of all keys, as the names of checkpoints carry it."""
        return hashlib.sha256(orjson.dumps(self.keys, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]


def bind_training(store: Store, pin: Pin, overwrite: bool) -> bool:
    """Binds the output folder to a run, or finds it bound to the same one; True when the run is complete.

    Raises:
        ManifestError: the folder belongs to another run, or holds a model that no run of ours made.
        StorageError: it cannot be read or written.
    """
    stored = _read(store)
    complete = exists(store.fs, store.path(_COMPLETE))
    if stored == pin:
        return complete and not overwrite
    if not overwrite and (stored is not None or complete):
        raise ManifestError(_refusal(store, stored, pin))
    data = orjson.dumps(asdict(pin), option=orjson.OPT_INDENT_2)
    if stored is None and not complete:
        create_exclusive(store.fs, store.path(PIN_NAME), data)
        if _read(store) != pin:
            raise ManifestError(f"{store.url}: another run began here at the same moment; name another OUTPUT")
    else:
        write_atomic(store.fs, store.path(PIN_NAME), data)
    return False


def _read(store: Store) -> Pin | None:
    path = store.path(PIN_NAME)
    try:
        return Pin(dict(orjson.loads(read_bytes(store.fs, path))["keys"]))
    except MissingError:
        return None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ManifestError(
            f"{path}: damaged ({error}); name another OUTPUT, or start anew with --overwrite"
        ) from error


def _refusal(store: Store, stored: Pin | None, pin: Pin) -> str:
    mend = "Name another OUTPUT, or replace what is there with --overwrite."
    if stored is None:
        return f"{store.url}: holds a model already, and no {PIN_NAME} that says how it was made. {mend}"
    lines = [
        f"\n  {key}: {stored.keys.get(key, '(absent)')} -> {pin.keys.get(key, '(absent)')}"
        for key in dict.fromkeys((*stored.keys, *pin.keys))
        if stored.keys.get(key) != pin.keys.get(key)
    ]
    return f"{store.url}: belongs to another training run. What differs, there -> now:{''.join(lines)}\n{mend}"
