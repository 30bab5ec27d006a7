"""What each output column costs: rows a second and bytes a row, against answers alone, with the model that ships.

    python -m benchmarks.columns [--rows 256] [--rounds 5] [--model minilm-qa] [--threads 2]

All runs are of one process and one engine, in turns: a round has each of them once, and medians over the rounds are
shown. A first round, which is not counted, teaches the batcher the passes of both kinds. Bytes are those of the column
alone, in Arrow and as Parquet with zstd; the time is that of windows to columns, without tokenising and writing.
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table

from actors.engine.engine import Engine
from actors.engine.inference_task import Wanted
from actors.engine.output_columns import to_table, wanted_columns
from actors.models.hub import find_model
from actors.models.loading import load_engine
from actors.parameters import (
    AttentionParameters,
    BatchingParameters,
    EmbeddingParameters,
    ModelParameters,
    QAParameters,
    TokenVectorParameters,
)
from actors.tokenization.preprocess import prepare_pairs
from actors.tokenization.tokenized import Tokenized
from pipelines.output.encoding import to_parquet

CORPUS = "samples/corpus.parquet"
_QA = QAParameters()
_ANSWERS = Wanted(_QA)
VARIANTS: dict[str, Wanted] = {
    "answers": _ANSWERS,
    "embedding": replace(_ANSWERS, embedding=EmbeddingParameters()),
    "tokens": replace(_ANSWERS, token_texts=True),
    "token_vectors float32": replace(_ANSWERS, token_vectors=TokenVectorParameters()),
    "token_vectors float16": replace(_ANSWERS, token_vectors=TokenVectorParameters(dtype="float16")),
    "token_vectors int8": replace(_ANSWERS, token_vectors=TokenVectorParameters(dtype="int8")),
    "token_vectors of layer 3": replace(_ANSWERS, token_vectors=TokenVectorParameters(layers=3)),
    "hidden": replace(_ANSWERS, layer_vectors=True),
    "attribution": replace(_ANSWERS, attribution=True),
    "attention top 8": replace(_ANSWERS, attention=AttentionParameters()),
    "attention top 8, last layer": replace(_ANSWERS, attention=AttentionParameters(layers=(6,))),
    "attention dense, last layer": replace(_ANSWERS, attention=AttentionParameters(top=None, layers=(6,))),
}
"""Answers alone, and beside them one column each."""


@dataclass(frozen=True)
class Figures:
    """Of one variant."""

    rows_per_second: float
    share: float
    """Of the rows a second of answers alone: median over the rounds."""
    arrow_bytes: float
    """Of a row, of the column that comes beside the answers."""
    parquet_bytes: float


def measure(engine: Engine, prepared: Tokenized, rounds: int) -> dict[str, Figures]:
    """Runs every variant once a round, and once before them."""
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    tables: dict[str, pa.Table] = {}
    for number in range(rounds + 1):
        for name, table, took in _round(engine, prepared):
            tables[name] = table
            if number:
                seconds[name].append(took)
    rows, alone = len(prepared.row_owner), seconds["answers"]
    figures = {}
    for name, times in seconds.items():
        added = tables[name].select([c for c in tables[name].column_names if c not in tables["answers"].column_names])
        added = added if added.num_columns else tables[name]
        figures[name] = Figures(
            rows / statistics.median(times),
            statistics.median(base / one for base, one in zip(alone, times, strict=True)),
            added.nbytes / rows,
            len(to_parquet(added, {})) / rows,
        )
    return figures


def _round(engine: Engine, prepared: Tokenized) -> Iterator[tuple[str, pa.Table, float]]:
    for name, wanted in VARIANTS.items():
        began = time.perf_counter()
        results = engine.finish(engine.begin(prepared, wanted))
        table = to_table(wanted_columns(wanted), results, wanted)
        yield name, table, time.perf_counter() - began


def prepared_rows(engine: Engine, rows: int) -> Tokenized:
    """Rows of the sample corpus, from the beginning again where it has fewer."""
    corpus = pq.read_table(CORPUS, columns=["question", "context"])
    corpus = pa.concat_tables([corpus] * -(-rows // len(corpus))).slice(0, rows).combine_chunks()
    questions, contexts = (pa.concat_arrays(corpus[name].chunks) for name in ("question", "context"))
    return prepare_pairs(engine.spec, _QA, questions, contexts, keep_texts=True)[0]


def table_of(figures: dict[str, Figures]) -> Table:
    """As people read it."""
    table = Table(box=None, header_style="not bold")
    for name in ("beside the answers", "rows/s", "of answers alone", "bytes a row, Arrow", "Parquet"):
        table.add_column(name, justify="left" if name.startswith("beside") else "right", no_wrap=True)
    for name, found in figures.items():
        table.add_row(
            "nothing" if name == "answers" else name,
            f"{found.rows_per_second:,.1f}",
            f"{found.share:.2f}",
            f"{found.arrow_bytes:,.0f}",
            f"{found.parquet_bytes:,.0f}",
        )
    return table


def main(
    rows: Annotated[int, typer.Option(help="Rows of a run.")] = 256,
    rounds: Annotated[int, typer.Option(help="Rounds, the first apart.")] = 5,
    model: Annotated[str, typer.Option(help="Which model.")] = "minilm-qa",
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
) -> None:
    """Measures, and prints a table."""
    parameters = ModelParameters(name=model, device=device, threads=threads)
    engine = load_engine(find_model(parameters), parameters, BatchingParameters(), with_qa_head=True)
    Console().print(table_of(measure(engine, prepared_rows(engine, rows), rounds)))


if __name__ == "__main__":
    typer.run(main)
