"""Offline jobs from a script or a notebook: the commands `spanmill answer` and `spanmill embed` as functions."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
from pyarrow import dataset

from pipelines.config.job import AnswerConfig, EmbedConfig
from pipelines.config.loader import check_config, in_groups
from pipelines.console import open_console
from pipelines.errors import JobError
from pipelines.execution.executor import execute
from pipelines.execution.outcome import Outcome
from pipelines.execution.runtimes.choice import settled_runtime
from pipelines.job.job import Job, bind, plan_job
from pipelines.output.decoding import from_jsonl
from pipelines.output.parts import QUARANTINE_FOLDER, REPORT_HTML
from pipelines.output.sinks.folder import PartsFolder
from pipelines.schemas import empty_table
from pipelines.storage.filesystem import read_bytes
from pipelines.words import counted
from spanmill.arguments import is_iterable, is_table, kind_of, path

if TYPE_CHECKING:
    import pandas
    import ray.data

Paths = str | PathLike[str] | Iterable[str | PathLike[str]]
C = TypeVar("C", AnswerConfig, EmbedConfig)

_FILES = (
    "a job reads files, so give paths or URLs of Parquet or JSON Lines. Rows in memory are for "
    "QuestionAnswering() and Embedder(), rows of a Ray dataset for spanmill.ray; or write them to a file first"
)


@dataclass(frozen=True)
class JobResult:
    """A job that is complete: its figures, and what it wrote."""

    job: Job
    outcome: Outcome

    @property
    def rows(self) -> int:
        """Input rows of the whole job, earlier runs and bad rows included."""
        return self.written + self.quarantined

    @property
    def written(self) -> int:
        """Input rows of the whole job that are in its output."""
        return self.outcome.counts.rows

    @property
    def chunks(self) -> int | None:
        """Rows of the whole job's output where each is a chunk of an input row; None in a job that cuts no texts."""
        return self.outcome.counts.chunks

    @property
    def quarantined(self) -> int:
        """Rows of the whole job that could not be used."""
        return self.outcome.counts.quarantined

    @property
    def reasons(self) -> dict[str, int]:
        """Why rows are in quarantine, and how many for each reason."""
        return dict(self.outcome.counts.reasons)

    @property
    def misfits(self) -> dict[str, dict[str, int]]:
        """Values of the whole job that are not written as they were: column of the input → what stands in their place
        (`null`, `text`, `default_id` or `no_number`) → rows. The report says more.
        """
        found: dict[str, dict[str, int]] = {}
        for (column, written), rows in sorted(self.outcome.counts.misfits.items()):
            found.setdefault(column, {})[written] = rows
        return found

    @property
    def left_out(self) -> tuple[str, ...]:
        """What lies in the input and was not read, and why: a sentence for every reason."""
        return self.job.left_out

    @property
    def seconds(self) -> float:
        """Of this run, with the start of Ray and the model; 0 where all was done already."""
        return self.outcome.seconds

    @property
    def output(self) -> str:
        """Path or URL of the output folder."""
        return str(self.job.store.url)

    @property
    def report(self) -> str:
        """Path or URL of the report, a page for the browser."""
        return f"{self.output}/{REPORT_HTML}"

    @property
    def parts(self) -> list[str]:
        """Paths of the parts in the output's filesystem, in the order of the corpus."""
        folder = self._folder()
        shards = sorted(self.job.committed().ids(), key=lambda shard: (shard.unit, shard.number))
        return [folder.path(shard) for shard in shards]

    def to_arrow(self) -> pa.Table:
        """The rows with the types of `job.schema`, in the order of the corpus; they must fit in memory.

        Raises:
            JobError: a part of JSON Lines does not tell the values of a column, such as durations.
        """
        if self._folder().format == "jsonl":
            return _rows_of_parts((read_bytes(self.job.store.fs, part) for part in self.parts), self.job.schema)
        return self._dataset(self.parts, self.job.schema).to_table()

    def to_pandas(self) -> "pandas.DataFrame":
        """The rows as a data frame, in the order of the corpus; they must fit in memory."""
        return self.to_arrow().to_pandas()

    def to_ray(self) -> "ray.data.Dataset":
        """The rows as a Ray dataset, which need not fit in memory."""
        import ray.data

        folder = self._folder()
        if folder.format == "parquet":
            return ray.data.read_parquet(self.parts, filesystem=self.job.store.fs)
        files = ray.data.read_binary_files(self.parts, filesystem=self.job.store.fs)
        lines = partial(_rows_of_files, schema=self.job.schema)
        return files.map_batches(lines, batch_size=1, batch_format="pyarrow")

    def quarantine(self) -> pa.Table:
        """The rows that could not be used, each with its file, place and reason."""
        fs, root = self.job.store.fs, self.job.store.path(QUARANTINE_FOLDER)
        fs.invalidate_cache()
        names = sorted(fs.find(root)) if fs.exists(root) else []
        return self._dataset(names, None).to_table() if names else pa.table({})

    def _folder(self) -> PartsFolder:
        sink = self.job.parts
        if not isinstance(sink, PartsFolder) or sink.format not in ("parquet", "jsonl"):
            raise JobError(f"{self.output} was written by a sink or format of your own; read it as it is meant to be")
        return sink

    def _dataset(self, paths: Sequence[str], schema: pa.Schema | None) -> dataset.Dataset:
        return dataset.dataset(list(paths), schema=schema, format="parquet", filesystem=self.job.store.fs)

    def __repr__(self) -> str:
        bad = f", {self.quarantined:,} quarantined" if self.quarantined else ""
        changed = f", not as it was: {', '.join(map(repr, self.misfits))} (.misfits)" if self.misfits else ""
        cut = "" if self.chunks is None else f" in {counted(self.chunks, 'chunk')}"
        unread = ", some files left out (.left_out)" if self.left_out else ""
        return (
            f"<{self.job.kind} job, complete: {counted(self.rows, 'row')}{cut}{bad}{changed}{unread}, in {self.output}>"
        )


def answer(
    input: Paths | None = None,
    output: str | PathLike[str] | None = None,
    /,
    *,
    limit: int | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    **config: Any,
) -> JobResult:
    """Answers every question of a corpus, as `spanmill answer` does; a job that was stopped goes on where it stopped.

    Ray is started for the job and stopped after it, unless it runs already (`ray.init()`).

    >>> import spanmill
    >>> done = spanmill.answer("questions.jsonl", "answers/", model="minilm-qa", qa={"top_k": 3})  # doctest: +SKIP
    >>> done.to_pandas()  # doctest: +SKIP

    Args:
        input: files, folders, globs or fsspec URLs of Parquet or JSONL.
        output: folder or fsspec URL. Both are required, and may also be given by name.
        limit: the first rows only.
        overwrite: replaces the output of another job.
        quiet: prints nothing: no progress, and not what was left out of the input or written otherwise than it was;
            the result has both.
        config: groups of keys, as in a config file: `model`, `corpus`, `output`, `qa`, `pool`, `ray` ...; a model's
            name stands for its group. `spanmill config answer` lists every key.

    Raises:
        TypeError, ValueError: the input holds rows instead of paths, say; the message names the argument.
        ConfigError: a key is unknown, or a value is invalid.
        SpanmillError, ModelError: the job does not complete; the message says why, and what is committed stays.
    """
    return _run(AnswerConfig, input, output, limit, overwrite, quiet, config)


def embed(
    input: Paths | None = None,
    output: str | PathLike[str] | None = None,
    /,
    *,
    limit: int | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    **config: Any,
) -> JobResult:
    """Gives every text of a corpus a vector, as `spanmill embed` does; all else is as in `answer`.

    Raises:
        TypeError, ValueError: the input holds rows instead of paths, say; the message names the argument.
        ConfigError: a key is unknown, or a value is invalid.
        SpanmillError, ModelError: the job does not complete; the message says why, and what is committed stays.
    """
    return _run(EmbedConfig, input, output, limit, overwrite, quiet, config)


def _run(
    kind: type[C],
    input: Paths | None,
    output: str | PathLike[str] | None,
    limit: int | None,
    overwrite: bool,
    quiet: bool,
    config: Mapping[str, Any],
) -> JobResult:
    console = open_console(stderr=True)
    console.quiet = quiet
    keys = dict(config)
    if input is None:
        input = keys.pop("input", None)
    # A group of the config has the same name.
    if output is None and not isinstance(keys.get("output"), Mapping):
        output = keys.pop("output", None)
    inputs, folder, chosen = _paths(input), path(output, "output"), _config(kind, keys)
    job = plan_job(inputs, folder, chosen, _limit(limit), anew=overwrite)
    for line in job.left_out:
        console.print(line, soft_wrap=True)
    with settled_runtime(job, chosen, console) as job:
        job = bind(job, overwrite)
        return JobResult(job, execute(job, console))


def _rows_of_files(files: pa.Table, schema: pa.Schema) -> pa.Table:
    return _rows_of_parts((data.as_py() for data in files["bytes"]), schema)


def _rows_of_parts(parts: Iterable[bytes], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([empty_table(schema), *(from_jsonl(data, schema) for data in parts)])


def _paths(input: object) -> list[str]:
    if isinstance(input, str | PathLike):
        return [path(input, "input")]
    # The rows themselves, which people have in all these forms.
    if isinstance(input, bytes | Mapping) or is_table(input) or not is_iterable(input):
        raise TypeError(f"input is {kind_of(input)}; {_FILES}")
    items: Iterable[Any] = input  # type: ignore[assignment]
    paths = list(items)
    for number, item in enumerate(paths):
        if not isinstance(item, str | PathLike):
            raise TypeError(f"input {number} is {kind_of(item)}; {_FILES}")
    return [path(item, "input") for item in paths]


def _limit(limit: object) -> int | None:
    if limit is None:
        return None
    if not isinstance(limit, Integral) or isinstance(limit, bool):
        raise TypeError(f"limit is {kind_of(limit)}; give a number of rows, or None for all of them")
    if int(limit) < 1:
        raise ValueError(f"limit is {limit}; give 1 or more rows, or None for all of them")
    return int(limit)


def _config(kind: type[C], config: Mapping[str, Any]) -> C:
    """The arguments as a config, in which a model's name stands for its group, and dots for groups."""
    tree = deepcopy(dict(config))
    if isinstance(tree.get("model"), str | PathLike):
        tree["model"] = {"name": fspath(tree["model"])}
    return check_config(kind, in_groups(tree), "the arguments")
