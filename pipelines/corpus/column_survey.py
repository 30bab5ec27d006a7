"""What all files of a corpus say of their columns, learned file by file while they are looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

import pyarrow as pa

from pipelines.config.column_types import parse_type
from pipelines.config.job import CorpusParameters
from pipelines.corpus.columns import check_carried, check_id, check_names, check_types, text_keys
from pipelines.corpus.formats.base import FirstLook
from pipelines.corpus.source_file import SourceFile
from pipelines.corpus.type_union import SeenTypes
from pipelines.errors import CorpusError
from pipelines.schemas import JobKind

_MOST_NAMES = 1000
"""Names of columns that are kept for an error message."""


@dataclass(frozen=True)
class CarriedTypes:
    """The types of the carried columns, one for all files."""

    schema: pa.Schema
    mixed: tuple[str, ...]
    """Columns whose text stands for other values too, as was seen or is asked for."""


@dataclass
class ColumnSurvey:
    """Joins the types of the carried columns over all files. Its size does not grow with their number."""

    parameters: CorpusParameters
    kind: JobKind
    _seen: dict[str, SeenTypes] = field(default_factory=dict)
    _seen_without_rows: dict[str, SeenTypes] = field(default_factory=dict)
    """Of files that declare types and have no row: they count where no others do."""
    _names: dict[str, None] = field(default_factory=dict)
    _sampled_names: dict[str, None] = field(default_factory=dict)
    _first: SourceFile | None = None
    """Of those that tell names, the first in order of names."""
    _first_sampled: SourceFile | None = None
    _has_rows: bool = False
    _problem_without_rows: tuple[str, CorpusError] | None = None
    """What is wrong with a file that has no row, the first in order of names: it matters where no other has one."""
    _lock: Lock = field(default_factory=Lock)

    def add(self, file: SourceFile, look: FirstLook) -> CorpusError | None:
        """Learns from a first look, in any order and from any thread; gives back why the file cannot be used.

        What a look knows of columns is not needed any more afterwards.
        """
        try:
            types = self._types(file, look)
        except CorpusError as error:
            return error
        with self._lock:
            self._add_names(file, look)
            seen = self._seen if look.schema is None or look.rows else self._seen_without_rows
            for name, type in types.items():
                seen[name] = seen.get(name, SeenTypes()) | type
        problem = self._problem(file, look)
        if look.schema is None or look.rows:
            self._has_rows |= look.rows > 0
            return problem
        if problem is not None:
            with self._lock:
                found = (file.name, problem)
                self._problem_without_rows = min(self._problem_without_rows or found, found, key=lambda one: one[0])
        return None

    def check(self) -> None:
        """Raises CorpusError when a column is in no file at all that tells its columns.

        Where no file has a row, it is raised for a file with columns of a wrong type, too.
        """
        if not self._has_rows and self._problem_without_rows is not None:
            raise self._problem_without_rows[1]
        if self._first_sampled is not None:
            check_names(self._first_sampled, tuple(self._sampled_names), self.parameters.columns, self.kind)
        if self._first is not None:
            # A column that is only in rows that nobody has looked at can be named by its type.
            wanted = self.parameters.carry
            if self._first_sampled is not None:
                wanted = tuple(name for name in wanted if name not in self.parameters.types)
            check_carried(self._first, tuple(self._names), wanted, self._first_sampled is not None)
            check_id(self._first, tuple(self._names), self.parameters.columns)

    def carried(self) -> CarriedTypes:
        """The types that hold what was seen, or those that the config fixes."""
        fields, mixed = [], []
        for name in self.parameters.carry:
            seen = self._seen.get(name, SeenTypes())
            if seen.is_nothing:
                seen = self._seen_without_rows.get(name, seen)
            fixed = self.parameters.types.get(name)
            type = pa.string() if name in text_keys(self.kind) else parse_type(fixed) if fixed else seen.unified()
            fields.append(pa.field(name, type))
            if fixed or seen.is_mixed:
                mixed.append(name)
        return CarriedTypes(pa.schema(fields), tuple(mixed))

    def _types(self, file: SourceFile, look: FirstLook) -> Mapping[str, SeenTypes]:
        wanted = [name for name in self.parameters.carry if name not in text_keys(self.kind)]
        if look.schema is None:
            return {name: SeenTypes.of_values([row.get(name) for row in look.sample]) for name in wanted}
        found = {}
        for name in wanted:
            if name in look.schema.names:
                try:
                    found[name] = SeenTypes.of_type(look.schema.field(name).type)
                except TypeError as error:
                    raise CorpusError(
                        f"{file.name}: column {name!r} is of type {look.schema.field(name).type}; {error}. Leave it "
                        "out of corpus.carry, or convert it."
                    ) from error
        return found

    def _add_names(self, file: SourceFile, look: FirstLook) -> None:
        if not look.names:
            return
        self._first = _earlier(self._first, file)
        _keep(self._names, look.names, [*self.parameters.carry, self.parameters.columns.id])
        if look.schema is None:
            self._first_sampled = _earlier(self._first_sampled, file)
            columns = self.parameters.columns
            _keep(self._sampled_names, look.names, [getattr(columns, key) for key in text_keys(self.kind)])

    def _problem(self, file: SourceFile, look: FirstLook) -> CorpusError | None:
        try:
            if look.misfit:
                raise CorpusError(look.misfit)
            if look.schema is not None:
                check_types(file, look.schema, self.parameters.columns, self.kind)
            elif look.is_telling:
                check_names(file, look.names, self.parameters.columns, self.kind)
        except CorpusError as error:
            return error
        return None


def _earlier(one: SourceFile | None, other: SourceFile) -> SourceFile:
    return other if one is None or other.name < one.name else one


def _keep(kept: dict[str, None], names: Sequence[str], needed: Sequence[str]) -> None:
    kept.update(dict.fromkeys(name for name in names if len(kept) < _MOST_NAMES or name in needed))
