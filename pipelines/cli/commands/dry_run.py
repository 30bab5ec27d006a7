"""`--dry-run`: prints what a job would do, without starting Ray, running the model or writing anything."""

import pyarrow as pa
from rich.console import Console

from pipelines.corpus.formats.base import LINE, RAW_COLUMNS
from pipelines.execution.output_size import OutputSize, sampled_size, warnings
from pipelines.execution.runtimes.prospect import prospect
from pipelines.execution.sampling import counted_plan
from pipelines.job.job import Job
from pipelines.rows.misfits import advice, describe
from pipelines.rows.shard_reader import read_unit
from pipelines.rows.validation import ValidShard, validate
from pipelines.words import counted, of_bytes, row_line

_ROWS = 3


def show_plan(job: Job, console: Console) -> None:
    """Prints the plan, the schema of the parts, and the first rows as the model would get them.

    Raises:
        CorpusError, StorageError: the rows that are looked at cannot be read.
    """
    # Counted as `--estimate` does it, so that both say the same.
    plan, layout = counted_plan(job.plan, job.config.corpus.storage), job.plan.layout
    about = "" if all(unit.rows is not None for unit in plan.units) else "about "
    console.print(
        f"{counted(len(plan.files), 'file')}, {counted(len(plan.units), 'read unit')}, "
        f"{about}{counted(plan.row_estimate, 'row')}, "
        f"{about}{counted(plan.expected_shards, 'shard')} of {counted(layout.shard_rows, 'row')}"
    )
    for file in plan.files[:5]:
        console.print(
            f"  {file.name}  {file.format}{' ' + file.compression if file.compression else ''}  {file.size:,} B"
        )
    if len(plan.files) > 5:
        console.print(f"  ... and {len(plan.files) - 5:,} more")
    console.print(f"model {job.model_name}  fingerprint {job.model.fingerprint[:12]}")
    if job.model.runtime is None:
        console.print(f"precision {job.model.precision}", soft_wrap=True)
    else:
        console.print(f"runtime {job.model.runtime}", soft_wrap=True)
    if more := prospect(job):
        console.print(f"  {more}", soft_wrap=True)
    console.print(f"output {job.store.url}  job {job.manifest.job8}")
    console.print("schema of the parts")
    for field in job.schema:
        console.print(f"  {field.name}: {field.type}")
    if (size := sampled_size(job, plan.row_estimate)) is not None:
        _show_size(size, console)
        for line in warnings(size, job.store):
            console.print(f"warning: {line}", soft_wrap=True, markup=False)
    found, valid = _first_rows(job)
    console.print("columns that are read")
    for field in found:
        console.print(f"  {field.name}: {field.type}")
    console.print("first rows as they would go in")
    for row in valid.rows.slice(0, _ROWS).to_pylist():
        console.print(f"  {row_line(row)}", soft_wrap=True)
    for row in valid.quarantine.slice(0, _ROWS).to_pylist():
        console.print(f"  quarantined: {row['file']} {row['place']}: {row['reason']} ({row['detail']})", soft_wrap=True)
    for (column, outcome), flags in valid.misfits.items():
        console.print(f"  {describe(column, outcome, int(flags.sum()))}", soft_wrap=True, markup=False)
    if mend := advice(valid.misfits):
        console.print(f"  {mend}", soft_wrap=True, markup=False)


def _show_size(size: OutputSize, console: Console) -> None:
    if (chunks := size.chunks) is not None:
        console.print(
            f"chunks: {chunks.mean:,.1f} a document ({chunks.least:,} to {chunks.most:,}) in a sample of "
            f"{counted(size.sampled, 'document')}, so about {counted(size.rows, 'row')} of output",
            soft_wrap=True,
        )
    each = of_bytes(size.total / max(size.rows, 1))
    console.print(f"size of the output: about {each} a row, {of_bytes(size.total)} in all; {size.note}", soft_wrap=True)
    for column in size.columns:
        console.print(f"  {column.name}: {of_bytes(column.row_bytes)} a row, {of_bytes(column.bytes)} in all")


def _first_rows(job: Job) -> tuple[pa.Schema, ValidShard]:
    plan = job.plan
    for unit in plan.units:
        file = plan.file_of(unit)
        for raw in read_unit(file, unit, plan.layout, job.config.corpus.storage):
            if not len(raw.table):
                continue
            valid = validate(raw, file.name, plan.layout)
            has_lines = LINE in raw.table.column_names
            raw_fields = [field for field in raw.table.schema if not (has_lines or field.name in RAW_COLUMNS)]
            found = pa.schema(raw_fields or valid.rows.schema)
            return found, valid
    return pa.schema([]), ValidShard(pa.table({}), pa.chunked_array([], pa.int64()), pa.table({}), {})
