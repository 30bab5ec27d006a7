"""Settles `model.backend: auto` of a job before it is bound: by measuring in its pool, where the job is long enough."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import ray
from rich.console import Console

from actors.errors import first_line
from actors.models.runtime_choice import BASELINE, Candidate, Measurement, RuntimeChoice, compared_runtimes
from pipelines.config.job import OfflineConfig
from pipelines.console import clock
from pipelines.execution.job_pool import pool_of
from pipelines.execution.runtimes.comparison import MARGIN, Comparison, Lap, OutOfTime, TrialFailed, times_torch
from pipelines.execution.runtimes.prospect import LEAST_SECONDS, SHARE
from pipelines.execution.runtimes.sample import SECONDS, WindowSample, sample_windows
from pipelines.execution.runtimes.trial import PoolTrial, Survey
from pipelines.execution.stage_factory import own_model
from pipelines.job.job import Job, in_runtime
from pipelines.job.model_probe import wanted_outputs
from pipelines.job.pool_size import ActorPool
from pipelines.job.ray_cluster import address_of, cluster_size, connected_for
from pipelines.words import counted

_SHORTEST_LAP = 1.0
"""Seconds that a run over the sample should take in torch, at least."""
_WINDOWS = 16
"""Of the sample, where there is time for them: fewer make no batches."""
_LAPS = 30.0
"""Into so many laps of torch the time is divided."""
_TOO_LONG = 0.7
"""What a lap should take, as a share of what it took: below this, the sample is cut."""
_TEAM_LAPS = 2
_TEAM_CPUS = 0.8
"""CPUs that Ray reserves for all actors together that are tried side by side, beside the one that was tried alone."""
_TEAM_START_SECONDS = 5.0
"""Until an actor beside others has a model whose conversion is there, at most."""
_LONGEST_START_SECONDS = 60.0
"""Until a runtime that is taken without measuring has its model, in the trial of whether it can be loaded."""
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
    sample = _sampled(job)
    if sample is None:
        yield in_runtime(job, _closed(planned, "no row could be read to compare runtimes on"))
        return
    seconds = sample.job_tokens / job.model.tokens_per_second
    if address_of(config.ray) == "local" and share * seconds < LEAST_SECONDS:
        # The pool's machine is this one, so the plan has looked at what it remembers already.
        yield in_runtime(job, _closed(planned, _too_short(seconds)))
        return
    console.print("starting Ray ...")
    with connected_for(config):
        resources, nodes = cluster_size()
        # Candidates are tried alone at first, also where the last choice was several actors side by side.
        pool = pool_of(in_runtime(job, replace(planned, actors=1)), resources, nodes)
        settling = _Settling(job, config, pool, sample, console, share)
        yield in_runtime(job, settling.choice())


def _sampled(job: Job) -> WindowSample | None:
    try:
        return sample_windows(job)
    except Exception as error:  # the job itself finds out what is wrong with its input, and says so
        _LOG.warning("no windows to compare runtimes on: %s", first_line(error))
        return None


def _closed(planned: RuntimeChoice, why: str) -> RuntimeChoice:
    return replace(planned, reason=f"{planned.reason}; {why}", is_open=False)


def _too_short(seconds: float) -> str:
    return f"the job, of about {clock(seconds)}, is too short to compare runtimes"


@dataclass
class _Settling:
    """The choice of one job, in an actor of its pool."""

    job: Job
    config: OfflineConfig
    pool: ActorPool
    sample: WindowSample
    console: Console
    share: float
    windows: int = 0
    """On which each candidate runs at a time."""

    def choice(self) -> RuntimeChoice:
        """What the job takes."""
        rate = self.job.model.tokens_per_second
        lap_seconds = max(self.share * self._seconds(rate) / _LAPS, _SHORTEST_LAP)
        most = max(SECONDS * rate, _WINDOWS * float(self.sample.lengths.mean()))
        trial = PoolTrial(own_model(self.job, self.pool), self.pool, self._sent(min(lap_seconds * rate, most)))
        try:
            with _Line(self.console) as line:
                return self._measured(trial, line)
        except Exception as error:  # whatever a cluster or a runtime does, the job can run as it was planned
            _LOG.warning("runtimes were not compared: %s", first_line(error), exc_info=True)
            return _closed(self._planned, f"comparing failed: {type(error).__name__}: {first_line(error)}")
        finally:
            trial.close()

    def _sent(self, tokens: float) -> Any:
        """A reference to windows of about so many tokens, on which every candidate runs from now on."""
        cut = self.sample.cut(tokens)
        self.windows = len(cut.windows)
        return ray.put(cut.to_ipc())

    def _seconds(self, rate: float) -> float:
        """What the passes of the whole job take at so many tokens a second of one actor."""
        return self.sample.job_tokens / max(rate, 1e-9) / self.pool.size

    @property
    def _planned(self) -> RuntimeChoice:
        assert self.job.model.runtime is not None
        return self.job.model.runtime

    @property
    def _on_gpu(self) -> bool:
        return self.config.model.on_gpu(self.pool.gpus > 0)

    def _measured(self, trial: PoolTrial, line: "_Line") -> RuntimeChoice:
        began = time.monotonic()
        survey = trial.survey(self.config.model, wanted_outputs(self.config), self._on_gpu, compared_runtimes())
        spawn = time.monotonic() - began
        if len({candidate.backend for candidate in survey.costs}) < 2:
            return self._unmeasured(trial, survey, "nothing to compare it with is installed in the pool")
        expected = self._seconds(self.job.model.tokens_per_second)
        budget = self.share * expected - spawn
        if budget < sum(sorted(survey.costs.values())[:2]):
            return self._unmeasured(trial, survey, _too_short(expected))

        comparison = Comparison(trial, budget, say=line.say)
        comparison.run(survey.costs, lambda lap: self._learnt(trial, lap, budget, spawn))
        chosen = comparison.winner()
        if chosen is None:
            told = "; ".join(f"{one}: {why}" for one, why in comparison.verdicts.items())
            return self._unmeasured(trial, survey, f"no runtime could be measured: {told}")
        actors, best, teams = self._side_by_side(trial, comparison, chosen, survey, spawn, line)
        seconds = time.monotonic() - began
        place = f"{counted(actors, 'actor')} of {counted(max(self.pool.threads // actors, 1), 'thread')}"
        on = f"{place}; measured on {counted(self.windows, 'window')} in {seconds:.0f} s"
        choice = RuntimeChoice(
            chosen.backend,
            chosen.dtype,
            f"{times_torch(comparison.rates | {chosen: best}, chosen)} ({on})",
            actors,
            (*comparison.table(chosen, self.pool.threads), *teams),
            round(seconds, 1),
            round(comparison.budget + spawn, 1),
            self.windows,
        )
        try:
            trial.remember(self.config.model, self._on_gpu, list(survey.costs), choice)
        except (TrialFailed, OutOfTime) as error:
            _LOG.warning("the choice of %s is not kept for later jobs: %s", chosen, first_line(error))
        return choice

    def _learnt(self, trial: PoolTrial, lap: Lap, budget: float, spawn: float) -> tuple[float, float]:
        """See `learn` of `Comparison.run`; cuts the sample where a lap of it takes too long."""
        # The driver tried the model on its own, and perhaps at a better moment.
        most = self.share * self._seconds(lap.rate) - spawn
        share = min(max(min(budget, most) / _LAPS, _SHORTEST_LAP) / lap.seconds, 1.0)
        if share > _TOO_LONG:
            return most, 1.0
        trial.windows = self._sent(share * lap.tokens)
        return most, share

    def _unmeasured(self, trial: PoolTrial, survey: Survey, why: str) -> RuntimeChoice:
        """What the pool's machine remembers or else what was planned, if it can be loaded there; else torch."""
        problems: dict[Candidate, str] = {}
        for choice in filter(None, (survey.kept, self._planned)):
            if choice.candidate in problems:
                continue
            problem = self._problem(trial, survey, choice.candidate)
            if problem is None:
                return _closed(choice, "; ".join([*problems.values(), why]))
            problems[choice.candidate] = f"{choice.candidate} cannot be loaded in the pool: {problem}"
            _LOG.warning("model.backend: auto: %s", problems[choice.candidate])
        first = next(iter(survey.costs))
        return RuntimeChoice(first.backend, first.dtype, "; ".join([*problems.values(), why]))

    def _problem(self, trial: PoolTrial, survey: Survey, candidate: Candidate) -> str | None:
        """Why a runtime cannot be loaded in the pool; None where it can, or where there is no other."""
        if not survey.costs or candidate.backend == BASELINE:
            return None
        if candidate not in survey.costs:
            return "it is not installed there"
        try:
            trial.start(candidate, _LONGEST_START_SECONDS)
        except TrialFailed as failed:
            return str(failed)
        except OutOfTime:
            return f"it was not ready after {_LONGEST_START_SECONDS:.0f} s"
        return None

    def _side_by_side(
        self,
        trial: PoolTrial,
        comparison: Comparison,
        chosen: Candidate,
        survey: Survey,
        spawn: float,
        line: "_Line",
    ) -> tuple[int, float, tuple[Measurement, ...]]:
        """How many actors share a machine or a GPU, their tokens per second, and what was measured of that."""
        pool, model = self.config.pool, self.config.model
        if not pool.size is pool.max_size is pool.cpus is pool.gpus is model.threads is None:
            return 1, comparison.rates[chosen], ()
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
        return actors, best, tuple(found)

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
