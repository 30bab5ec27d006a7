"""The forecast against the run that it forecasts."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.cli.commands.dry_run import show_plan
from pipelines.execution import estimate
from pipelines.execution.estimate import Estimate, estimate_job, estimate_table
from pipelines.execution.forecast import Forecast, Interval
from pipelines.execution.stage_factory import make_stages
from pipelines.job.pool_size import ActorPool
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.reporting.progress import Progress
from pipelines.words import counted
from tests.pipelines.jobs import make_job, mixed_rows, run_job, write_jsonl


@pytest.mark.more
@pytest.mark.usefixtures("cluster")
def test_the_forecast_holds(tmp_path: Path, untrained_model: Path) -> None:
    rows = [*mixed_rows(122), *mixed_rows(122)]
    lines = [{**row, "question": None} if number % 25 == 0 else row for number, row in enumerate(rows)]
    corpus = write_jsonl(tmp_path / "in.jsonl", lines)
    words = ("pool.price_per_hour=3.6", "corpus.shard_rows=40")
    job = make_job([corpus], tmp_path / "out", untrained_model, *words)
    found = estimate_job(job, Console(file=io.StringIO()))
    assert not (tmp_path / "out").exists(), "an estimate writes nothing"

    forecast = found.forecast
    outcome = run_job([corpus], tmp_path / "out", untrained_model, *words).outcome
    assert forecast.rows == pytest.approx(len(rows), rel=0.15)
    assert forecast.quarantined.low <= outcome.tally.quarantined / len(rows) <= forecast.quarantined.high
    written = sum(path.stat().st_size for path in (tmp_path / "out").glob("part-*"))
    assert 0.7 * forecast.output_bytes.low <= written <= 1.3 * forecast.output_bytes.high
    # Other work on the machine can make either slow, so time is held to an order of magnitude only.
    assert 0.1 < forecast.seconds_per_row.value / (outcome.tally.stats.total.seconds / len(rows)) < 10
    assert found.cost_per_million is not None
    assert found.cost_per_million.value == pytest.approx(1e6 * forecast.seconds_per_row.value / 1000)

    shown = io.StringIO()
    Console(file=shown, width=100).print(estimate_table(job, found))
    dry = io.StringIO()
    show_plan(job, Console(file=dry, width=200))
    assert f"about {counted(found.shards, 'shard')} of 40 rows" in dry.getvalue(), "both say the same"
    for words_shown in (
        "about 2",
        "rows of a part",
        "duration",
        "cost of a million rows",
        "quarantined",
        "from",
        "nine times out of",
    ):
        assert words_shown in shown.getvalue()


def test_pieces_that_were_handed_back_tell_nothing(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job([write_jsonl(tmp_path / "in.jsonl", mixed_rows(5))], tmp_path / "out", untrained_model)
    tried = Receipt(ShardId(0, 0, False), "in.jsonl", rows=5, started=1.0, committed=2.0)
    untried = Receipt(ShardId(1, 0, False), "in.jsonl", handed_back=True)
    monkeypatch.setattr(estimate, "build", lambda *_: None)
    monkeypatch.setattr(estimate, "receipts", lambda _: iter([untried, tried]))
    progress = Progress(Console(file=io.StringIO()), 0, 2, 10)
    stages = make_stages(job, ActorPool(1, 1, 1.0, 0.0, 1), rehearsal=True)
    assert estimate._run_sample(stages, [], progress) == [tried]
    assert (progress.tally.shards, progress.tally.rows) == (1, 5)


@pytest.mark.parametrize("is_small", [True, False])
def test_a_small_job_is_named_as_one(tmp_path: Path, untrained_model: Path, is_small: bool) -> None:
    job = make_job([write_jsonl(tmp_path / "in.jsonl", mixed_rows(5))], tmp_path / "out", untrained_model)
    figure = Interval(1.0, 1.0, 1.0)
    forecast = Forecast(5, 1, figure, 0.0, figure, figure)
    shown = io.StringIO()
    pool = ActorPool(1, 1, 1.0, 0.0, 1)
    Console(file=shown, width=200).print(estimate_table(job, Estimate(forecast, pool, 1, None, is_small)))
    notes = shown.getvalue().partition("from 1 row")
    assert notes[0].endswith("\n"), "notes begin at the left"
    said = " ".join(shown.getvalue().split())
    assert "from 1 row on 1 model actor, nine times out of ten" in said
    assert ("takes hardly longer than this estimate" in said) == is_small
