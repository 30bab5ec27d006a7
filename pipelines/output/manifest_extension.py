"""Files that came to the input after a job was bound: what they add to its plan, kept beside the manifest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from actors.errors import first_line
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import ManifestError, MissingError
from pipelines.output.manifest import EXTENSION_NAME, MANIFEST_NAME, Manifest
from pipelines.planning.plan import Plan
from pipelines.storage.filesystem import Store, create_exclusive, read_bytes


class Extension(BaseModel):
    """New files and their units. The n-th extension of a job adds to the plan with the n - 1 before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    """Of this format."""

    job: str
    """`Manifest.job_id`."""

    files: list[list[Any]]
    units: list[list[Any]]
    row_estimate: int
    """As in `Plan.to_json`, of the new files alone; a unit's file counts from the job's first."""

    created: str
    """When, ISO 8601."""

    def added_to(self, plan: Plan) -> Plan:
        """The plan with these files and units at its end."""
        added = Plan.from_json({**plan.to_json(), **self.model_dump(include={"files", "units", "row_estimate"})})
        first = len(plan.units)
        return replace(
            plan,
            files=plan.files + added.files,
            units=plan.units + tuple(replace(unit, index=first + unit.index) for unit in added.units),
            row_estimate=plan.row_estimate + added.row_estimate,
        )


@dataclass(frozen=True)
class InputChange:
    """A fresh listing against the files of a job."""

    known: tuple[SourceFile, ...]
    """The listed files that the job knows, under the names that it knows them by."""
    new: tuple[SourceFile, ...]
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    """Names."""

    @classmethod
    def between(cls, before: Sequence[SourceFile], now: Sequence[SourceFile]) -> "InputChange":
        """Files are matched by URL, and then by name: a corpus that was moved as a whole is the same corpus."""
        by_url = {str(file.url): file for file in before}
        by_name = {file.name: file for file in before}
        matched: dict[str, SourceFile] = {}
        rest = []
        for file in now:
            known = by_url.get(str(file.url))
            if known is None:
                rest.append(file)
            else:
                matched[known.name] = replace(file, name=known.name)
        new = []
        for file in rest:
            if file.name in by_name and file.name not in matched:
                matched[file.name] = file
            else:
                new.append(file)
        changed = [name for name, file in matched.items() if _content(file) != _content(by_name[name])]
        return cls(
            known=tuple(matched.values()),
            new=tuple(_unlike(by_name, new)),
            gone=tuple(sorted(by_name.keys() - matched.keys())),
            changed=tuple(sorted(changed)),
        )

    def __str__(self) -> str:
        groups = {"new": sorted(file.name for file in self.new), "gone": self.gone, "changed": self.changed}
        return ", ".join(
            f"{len(names)} {what} ({', '.join(names[:3])}{' ...' if len(names) > 3 else ''})"
            for what, names in groups.items()
            if names
        )


def read_plan(store: Store, manifest: Manifest) -> Plan:
    """The plan of a job with all that was added to it.

    Raises:
        ManifestError: it is damaged.
        StorageError: it cannot be read.
    """
    return _read_extended(store, manifest)[0]


def settle_inputs(store: Store, manifest: Manifest, planned: Plan, extend: bool) -> Plan:
    """The plan of a job, for the files that are there now.

    Args:
        planned: made from a fresh listing.
        extend: take files that are new into the job.

    Raises:
        ManifestError: files are gone or changed, or new and `extend` is not set.
    """
    while True:
        plan, extensions = _read_extended(store, manifest)
        change = InputChange.between(plan.files, planned.files)
        if change.gone or change.changed or (change.new and not extend):
            mend = "Name another OUTPUT, or replace that job with --overwrite."
            if not change.gone and not change.changed:
                mend = "Add --extend to take the new files into the job, or name another OUTPUT."
            raise ManifestError(f"{store.url}: the input is not that of {manifest.created}: {change}. {mend}")
        if not change.new:
            return plan.reading(change.known)
        added = _extension(manifest, plan, planned, change.new)
        # Whether it was this call or another's that wrote it, the next round reads what is there.
        create_exclusive(store.fs, store.path(EXTENSION_NAME.format(extensions + 1)), orjson.dumps(added.model_dump()))


def _read_extended(store: Store, manifest: Manifest) -> tuple[Plan, int]:
    path, number = store.path(MANIFEST_NAME), 0
    try:
        plan = Plan.from_json(manifest.plan)
        while True:
            path = store.path(EXTENSION_NAME.format(number + 1))
            try:
                data = read_bytes(store.fs, path)
            except MissingError:
                return plan, number
            extension = Extension.model_validate(orjson.loads(data))
            if extension.job != manifest.job_id:
                raise ManifestError(f"{path}: extends another job; use --overwrite")
            plan, number = extension.added_to(plan), number + 1
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise ManifestError(f"{path}: the plan is damaged ({first_line(error)}); use --overwrite") from error


def _extension(manifest: Manifest, plan: Plan, planned: Plan, new: Sequence[SourceFile]) -> Extension:
    places = {file.url: number for number, file in enumerate(new)}
    units = [unit for unit in planned.units if planned.file_of(unit).url in places]
    numbered = [
        replace(unit, index=index, file=len(plan.files) + places[planned.file_of(unit).url])
        for index, unit in enumerate(units)
    ]
    sizes = sum(file.size for file in planned.files), sum(file.size for file in new)
    exact = [unit.rows for unit in units if unit.rows is not None]
    rows = sum(exact) if len(exact) == len(units) else round(planned.row_estimate * sizes[1] / max(sizes[0], 1))
    data = replace(planned, files=tuple(new), units=tuple(numbered), row_estimate=rows).to_json()
    return Extension(
        job=manifest.job_id,
        files=data["files"],
        units=data["units"],
        row_estimate=rows,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _content(file: SourceFile) -> tuple[int, str]:
    return file.size, file.version


def _unlike(known: dict[str, SourceFile], new: Sequence[SourceFile]) -> list[SourceFile]:
    """New files; one that has a known file's name goes by its URL."""
    return [replace(file, name=str(file.url)) if file.name in known else file for file in new]
