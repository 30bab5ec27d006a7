"""Settles `model.backend: auto` of a job before it is bound: by measuring in its pool, where the job is long enough."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import ray
from rich.console import Console

from actors.errors import first_line
from actors.models.runtime_choice import Candidate, Measurement, RuntimeChoice, compared_runtimes
from pipelines.config.job import OfflineConfig
from pipelines.console import clock
from pipelines.execution.job_pool import pool_of
from pipelines.execution.runtime_comparison import MARGIN, Comparison, OutOfTime, TrialFailed, times_torch
from pipelines.execution.runtime_prospect import LEAST_SECONDS, SHARE, forecast_seconds
from pipelines.execution.runtime_sample import WindowSample, sample_windows
from pipelines.execution.runtime_trial import PoolTrial, Survey
from pipelines.execution.stage_factory import own_model
from pipelines.job.job import Job, in_runtime
from pipelines.job.model_probe import wanted_outputs
from pipelines.job.pool_size import ActorPool
from pipelines.job.ray_cluster import address_of, cluster_size, connected_for
from pipelines.words import counted

_LAP_SECONDS = 1.0, 4.0
"""Least and most that a run over the sample should take in torch."""
_LAPS = 30.0
"""Into so many laps of torch the time is divided."""
_TEAM_LAPS = 2
_TEAM_CPUS = 0.8
"""CPUs that Ray reserves for all actors together that are tried side by side, beside the one that was tried alone."""
_TEAM_START_SECONDS = 5.0
"""Until an actor beside others has a model whose conversion is there, at most."""
_MOST_ON_GPU = 4
"""Actors that are tried on one GPU."""

_LOG = logging.getLogger("spanmill.runtime")


@contextmanager
def settled_runtime(job: Job, config: OfflineConfig, console: Console, share: float = SHARE) -> Iterator[Job]:
    """The job in the runtime that it takes. Where that is measured, Ray stays connected while the block runs.

    Whatever goes wrong while it is measured does not end the job: it runs as it was planned, and says why.

    Args:
        job: planned, not bound.
        config: that it was planned with.
        share: of the forecast time of the job, that measuring may take.

    Raises:
        JobError: the cluster cannot be used.
        ConfigError: the cluster cannot hold the pool.
    """
    planned = job.model.runtime
    if planned is None or not planned.is_open:
        yield job
        return
    if address_of(config.ray) == "local" and share * forecast_seconds(job) < LEAST_SECONDS:
        # The pool's machine is this one, so the plan has looked at what it remembers already.
        yield in_runtime(job, _without_measuring(planned, forecast_seconds(job)))
        return
    console.print("starting Ray ...")
    with connected_for(config):
        resources, nodes = cluster_size()
        pool = pool_of(job, resources, nodes)
        settling = _Settling(job, config, pool, console, share)
        yield in_runtime(job, settling.choice())


def _without_measuring(planned: RuntimeChoice, seconds: float) -> RuntimeChoice:
    reason = f"{planned.reason}; the job, of about {clock(seconds)}, is too short to compare runtimes"
    return replace(planned, reason=reason, is_open=False)


@dataclass
class _Settling:
    """The choice of one job, in an actor of its pool."""

    job: Job
    config: OfflineConfig
    pool: ActorPool
    console: Console
    share: float

    def choice(self) -> RuntimeChoice:
        """What the job takes."""
        planned = self._planned
        trial: PoolTrial | None = None
        try:
            sample = self._sample()
            if sample is None:
                return replace(planned, reason=f"{planned.reason}; no row could be read to compare runtimes on")
            trial = PoolTrial(own_model(self.job, self.pool), self.pool, ray.put(sample.windows))
            with _Line(self.console) as line:
                return self._measured(trial, sample, line)
        except Exception as error:  # whatever a store, a cluster or a runtime does, the job can run as it was planned
            _LOG.warning("runtimes were not compared: %s", first_line(error), exc_info=True)
            reason = f"{planned.reason}; comparing failed: {type(error).__name__}: {first_line(error)}"
            return replace(planned, reason=reason, is_open=False)
        finally:
            if trial is not None:
                trial.close()

    @property
    def _planned(self) -> RuntimeChoice:
        assert self.job.model.runtime is not None
        return self.job.model.runtime

    @property
    def _on_gpu(self) -> bool:
        return self.config.model.on_gpu(self.pool.gpus > 0)

    def _sample(self) -> WindowSample | None:
        budget = self.share * forecast_seconds(self.job, self.pool.size)
        lap = min(max(budget / _LAPS, _LAP_SECONDS[0]), _LAP_SECONDS[1])
        return sample_windows(self.job, lap * self.job.model.tokens_per_second)

    def _measured(self, trial: PoolTrial, sample: WindowSample, line: "_Line") -> RuntimeChoice:
        began = time.monotonic()
        survey = trial.survey(self.config.model, wanted_outputs(self.config), self._on_gpu, compared_runtimes())
        spawn = time.monotonic() - began
        planned = survey.kept or self._planned
        if len({candidate.backend for candidate in survey.costs}) < 2:
            return replace(planned, reason="nothing to compare it with is installed in the pool", is_open=False)

        tokens = sample.tokens_per_row * self.job.plan.row_estimate / self.pool.size

        def budget_of(rate: float) -> float:
            return self.share * tokens / max(rate, 1e-9) - spawn

        budget = budget_of(self.job.model.tokens_per_second)
        cheapest = sorted(survey.costs.values())[:2]
        if budget < sum(cheapest):
            return _without_measuring(planned, tokens / self.job.model.tokens_per_second)
        comparison = Comparison(trial, budget, say=line.say)
        comparison.run(survey.costs, lambda lap: budget_of(lap.rate))
        chosen = comparison.winner()
        if chosen is None:
            told = "; ".join(f"{one}: {why}" for one, why in comparison.verdicts.items())
            return replace(planned, reason=f"no runtime could be measured: {told}", is_open=False)
        table = comparison.table(chosen, self.pool.threads)
        actors, teams = self._side_by_side(trial, comparison, chosen, survey, spawn, line)
        seconds = time.monotonic() - began
        on = f"measured on {counted(sample.count, 'window')} in {seconds:.0f} s"
        told = f"{times_torch(comparison.rates, chosen)} ({on})"
        choice = RuntimeChoice(
            chosen.backend, chosen.dtype, told, actors, (*table, *teams), round(seconds, 1), sample.count
        )
        trial.remember(self.config.model, self._on_gpu, choice)
        return choice

    def _side_by_side(
        self,
        trial: PoolTrial,
        comparison: Comparison,
        chosen: Candidate,
        survey: Survey,
        spawn: float,
        line: "_Line",
    ) -> tuple[int, tuple[Measurement, ...]]:
        """How many actors share a machine or a GPU, and what was measured of that."""
        pool, model = self.config.pool, self.config.model
        if not pool.size is pool.max_size is pool.cpus is pool.gpus is model.threads is None:
            return 1, ()
        best, actors, found = comparison.rates[chosen], 1, list[Measurement]()
        on_gpu = self.pool.gpus > 0
        most = min(survey.most_actors, _MOST_ON_GPU if on_gpu else self.pool.threads)
        start = min(comparison.starts[chosen], _TEAM_START_SECONDS + comparison.lap_seconds[chosen])
        for count in _powers(most):
            # Processes that start side by side share the cores.
            expected = (spawn + start) * (1 + count / self.pool.threads)
            expected += 2 * _TEAM_LAPS * comparison.lap_seconds[chosen]
            if expected > comparison.left:
                break
            if on_gpu:
                trial.close()
            line.say(f"comparing runtimes: {count} actors of {chosen} side by side")
            team = self._team(trial, count, survey.node)
            try:
                rates = self._rates(None if on_gpu else trial, team, chosen, comparison)
            except (TrialFailed, OutOfTime) as error:
                found.append(
                    Measurement(str(chosen), count, team.pool.threads, verdict=first_line(error) or "too slow")
                )
                break
            finally:
                team.close()
            best = max(best, rates[0])
            is_better = rates[1] > MARGIN * best
            told = f"{rates[1] / best:.2f} of {actors} side by side"
            found.append(Measurement(str(chosen), count, team.pool.threads, round(rates[1], 1), verdict=told))
            if not is_better:
                break
            best, actors = rates[1], count
        return actors, tuple(found)

    def _team(self, trial: PoolTrial, count: int, node: str) -> PoolTrial:
        threads = max(self.pool.threads // count, 1)
        gpus = self.pool.gpus / count
        pool = replace(self.pool, threads=threads, cpus=_TEAM_CPUS / count, gpus=gpus)
        return PoolTrial(own_model(self.job, pool), pool, trial.windows, count, node)

    def _rates(
        self, alone: PoolTrial | None, team: PoolTrial, chosen: Candidate, comparison: Comparison
    ) -> tuple[float, float]:
        """The best laps of one actor and of a team, in turns."""
        team.start(chosen, comparison.left)
        rates = [0.0, 0.0]
        for _ in range(_TEAM_LAPS):
            for place, one in enumerate((alone, team)):
                if one is not None:
                    rates[place] = max(rates[place], one.lap(chosen, max(comparison.left, 1.0)).rate)
        return rates[0], rates[1]


def _powers(most: int) -> Iterator[int]:
    """2, 4, 8 ... up to `most`."""
    count = 2
    while count <= most:
        yield count
        count *= 2


class _Line:
    """One line that says what is measured now: live on a terminal, printed once elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("comparing runtimes") if console.is_terminal else None

    def __enter__(self) -> "_Line":
        if self._status is None:
            self._console.print("comparing runtimes on windows of this job ...")
        else:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, text: str) -> None:
        """Shows it."""
        if self._status is not None:
            self._status.update(text)
