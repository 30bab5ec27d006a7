"""`make demo`: answers the sample corpus, and prints the job's figures and a few answers marked in their passages."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.text import Text

from pipelines.cli.commands.run_job import outcome_table
from pipelines.cli.native_stderr import without_ray_lines
from pipelines.cli.process_clock import seconds_waited
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.console import open_console
from pipelines.evaluation.evaluator import evaluate_predictions, without_abstaining
from pipelines.execution.executor import execute
from pipelines.job.job import bind, plan_job

CORPUS = Path("samples/corpus.parquet")
OUTPUT = Path("build/demo")
_AROUND = 90
"""Characters of the passage that are shown on each side of an answer."""


def main() -> None:
    """Runs the demo from the root of the repository; replaces the output of an earlier one."""
    console = open_console()
    config = load_config(AnswerConfig, None, ["corpus.carry=[title]"])
    job = bind(plan_job([str(CORPUS)], str(OUTPUT), config, limit=None, anew=True), replace=True)
    outcome = execute(job, open_console(stderr=True))

    gold = {row["id"]: row for row in pq.read_table(CORPUS).to_pylist()}
    found = pq.read_table(OUTPUT).to_pylist()
    table = outcome_table(job, outcome, seconds_waited())
    examples = pa.table({"answer_texts": [gold[row["id"]]["answers"]["text"] for row in found]})
    score = evaluate_predictions(examples, without_abstaining(pa.array([row["answer"] for row in found]))).answerable
    table.add("EM", f"{score.em:.1f}")
    table.add("F1", f"{score.f1:.1f}")
    table.print_to(console)
    console.print()
    for row in found[:: len(found) // 4][:4]:
        console.print(Text(gold[row["id"]]["question"], style="bold"))
        console.print(_marked(gold[row["id"]]["context"], row["start"], row["end"]))
        console.print(f"  gold: {gold[row['id']]['answers']['text'][0]}   score {row['score']:.3f}\n", markup=False)


def _marked(context: str, start: int, end: int) -> Text:
    before, after = context[max(start - _AROUND, 0) : start], context[end : end + _AROUND]
    text = Text("  ..." if start > _AROUND else "  ")
    text.append(before.replace("\n", " "))
    text.append(f"[{context[start:end]}]".replace("\n", " "), style="reverse")
    return text.append(after.replace("\n", " ") + ("..." if end + _AROUND < len(context) else ""))


if __name__ == "__main__":
    with without_ray_lines():
        main()
