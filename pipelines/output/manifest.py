"""The manifest of a job in OUTPUT: everything that changes rows, and the plan that a resume follows."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from actors.errors import first_line
from pipelines.errors import ManifestError, MissingError
from pipelines.output.parts import QUARANTINE_FOLDER, REPORT_HTML, REPORT_JSON, SUCCESS_NAME, list_names
from pipelines.output.receipt_log import RECEIPTS_FOLDER, is_receipt
from pipelines.output.sinks.base import Sink
from pipelines.output.sinks.folder import is_part
from pipelines.schemas import JobKind
from pipelines.storage.atomic_write import TEMPORARY_PREFIX
from pipelines.storage.filesystem import Store, create_exclusive, read_bytes
from pipelines.storage.retry import attempt
from pipelines.words import counted

MANIFEST_NAME = "_manifest.json"
EXTENSION_NAME = "_manifest-{:04d}.json"
"""Of what `pipelines.output.manifest_extension` adds."""

_KEYS = {"backend": "model.backend, model.precision"}
"""What is pinned under a name of its own, by the keys of the config that set it."""
_EXTENSION = re.compile(r"_manifest-\d{4}\.json")


class Manifest(BaseModel):
    """The identity of a job, and how it was cut up. Holds no storage options, and so no secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    version: Literal[1] = 1
    """Of this format."""

    kind: JobKind
    """answer or embed."""

    model: str
    """Fingerprint of weights, tokenizer and model config."""

    backend: str
    """The runtime, with what of it changes numbers."""

    results: dict[str, Any]
    """The keys of the config that change rows, nested as in the config."""

    output_schema: str
    """Schema of the parts, as Arrow prints it."""

    plan: dict[str, Any]
    """`Plan.to_json()`; its files are the input listing."""

    created: str
    """When, ISO 8601."""

    spanmill: str
    """Version of Spanmill that made it."""

    runtime: dict[str, Any] | None = None
    """How `model.backend: auto` came to the runtime, with what was measured; no part of the identity. None where the
    config names the runtime: such manifests have no such key, as those from before there was any."""

    def to_json(self) -> dict[str, Any]:
        """What is stored."""
        return self.model_dump(exclude={"runtime"} if self.runtime is None else None)

    def identity(self) -> dict[str, str]:
        """Everything that changes rows, flat: dotted key → value as JSON text. Pool, cluster and plan are no part."""
        named = {"kind": self.kind, "model.fingerprint": self.model, "backend": self.backend}
        pinned = {**named, "schema": self.output_schema, **flat_keys(self.results)}
        return {key: _json(value) for key, value in pinned.items()}

    def inputs(self) -> dict[str, tuple[int, str]]:
        """The input listing: name → (bytes, version)."""
        return {name: (size, version) for _, name, size, version, *_ in self.plan["files"]}

    @cached_property
    def job_id(self) -> str:
        """SHA-256 of what changes rows and of how they are cut into shards, in hex."""
        pinned = {"keys": self.identity(), "inputs": self.inputs(), "plan": self.plan}
        return hashlib.sha256(_json(pinned).encode()).hexdigest()

    @property
    def job8(self) -> str:
        """The start of `job_id`, as part names carry it."""
        return self.job_id[:8]

    def differences(self, other: Self) -> list[str]:
        """What of this job's identity is another in `other`, one line each; the input is no part of it."""
        return changed_keys(self.identity(), other.identity())


def read_manifest(store: Store) -> Manifest | None:
    """The manifest of an output folder, None when it has none.

    Raises:
        ManifestError: it is damaged, or of another version of Spanmill.
        StorageError: it cannot be read.
    """
    path = store.path(MANIFEST_NAME)
    try:
        data = read_bytes(store.fs, path)
    except MissingError:
        return None
    try:
        return Manifest.model_validate(orjson.loads(data))
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise ManifestError(
            f"{path}: not a manifest that this version reads ({first_line(error)}). Use the version of Spanmill that "
            f"wrote it, name another OUTPUT, or start anew with --overwrite."
        ) from error


def open_or_create(store: Store, stored: Manifest | None, manifest: Manifest) -> Manifest:
    """Binds the output folder to a job, or finds it bound to the same one.

    Args:
        stored: what `read_manifest` has just found there.
        manifest: of the job.

    Returns:
        The manifest that is stored, which may have another plan and shard size than the one given: follow the stored.

    Raises:
        ManifestError: the folder belongs to another job, or has parts but no manifest, or a damaged one.
        StorageError: it cannot be read or written.
    """
    if stored is None:
        parts = sorted(filter(is_part, list_names(store)))
        if parts:
            raise ManifestError(
                f"{store.url}: holds {counted(len(parts), 'part')} ({parts[0]} ...) but no {MANIFEST_NAME}, so nobody "
                f"knows which job they are of. Name another OUTPUT, or remove them with --overwrite."
            )
        create_exclusive(store.fs, store.path(MANIFEST_NAME), orjson.dumps(manifest.to_json()))
        stored = read_manifest(store)
        if stored is None:
            raise ManifestError(
                f"{store.url}: {MANIFEST_NAME} vanished as soon as written. Who else removes files here?"
            )
    differences = stored.differences(manifest)
    if differences:
        lines = "".join(f"\n  {line}" for line in differences)
        raise ManifestError(
            f"{store.url}: belongs to another job (of {stored.created}). What differs, there -> now:{lines}\n"
            f"Name another OUTPUT, or replace that job with --overwrite."
        )
    return stored


def overwrite(store: Store, sink: Sink) -> int:
    """Removes what Spanmill wrote to a folder and to a sink, and nothing else; returns how many files and parts.

    The manifest goes last, so that an interrupted call leaves a job that can be resumed or overwritten.

    Raises:
        StorageError: a file cannot be removed.
    """
    marks = _remove(store, [SUCCESS_NAME] if SUCCESS_NAME in list_names(store) else [])
    parts = sink.remove()
    present = list_names(store)
    own = [
        name
        for name in present
        if is_part(name) or name.startswith(TEMPORARY_PREFIX) or name in (REPORT_HTML, REPORT_JSON)
    ]
    for folder in (QUARANTINE_FOLDER, RECEIPTS_FOLDER):
        for name in list_names(store, folder):
            if is_part(name) or name.startswith(TEMPORARY_PREFIX) or is_receipt(name):
                own.append(f"{folder}/{name}")
    return (
        marks
        + parts
        + _remove(store, own)
        # The last one first: what is left of an interrupted call is a job without it.
        + sum(_remove(store, [name]) for name in sorted(filter(_EXTENSION.fullmatch, present), reverse=True))
        + _remove(store, [MANIFEST_NAME] if MANIFEST_NAME in present else [])
    )


def _remove(store: Store, names: Sequence[str]) -> int:
    if names:
        attempt("removing files", store.url, lambda: store.fs.rm([store.path(name) for name in names]))
    return len(names)


def changed_keys(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between two identities (key → value as JSON text), one line each."""
    return [
        f"{_KEYS.get(key, key)}: {_shown(before.get(key))} -> {_shown(now.get(key))}"
        for key in dict.fromkeys((*before, *now))
        if before.get(key) != now.get(key)
    ]


def flat_keys(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flat_keys(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _shown(value: str | None) -> str:
    if value is None:
        return "(absent)"
    return value if len(value) <= 80 else f"{value[:77]}..."
