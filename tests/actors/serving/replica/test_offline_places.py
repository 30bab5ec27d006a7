"""Jobs of several tenants at one replica: pieces that take a while, asked for as feeders do."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from actors.engine.inference_task import Wanted
from actors.parameters import EmbeddingParameters
from actors.serving.deployments import ModelDeployment
from actors.serving.parameters import ServiceParameters
from actors.serving.replica.offline_places import OfflinePlaces
from actors.serving.types import Refusal
from actors.tenants import TenantWeights
from actors.tokenization.preprocess import prepare_texts

WEIGHTS = TenantWeights({"default": 1.0, "a": 1.0, "b": 1.0, "c": 2.0})
PIECE = 0.004
"""Seconds."""


class Job:
    """Feeds pieces of so many tokens as a job's `ServeClient` does: two at a time, again after a refusal."""

    def __init__(self, places: OfflinePlaces, tenant: str, tokens: int) -> None:
        self._places, self._tenant, self._tokens = places, tenant, tokens
        self.done = 0

    async def feed(self) -> None:
        while True:
            if await self._places.take(self._tenant):
                await asyncio.sleep(PIECE)
                self._places.give_back(self._tenant, self._tokens)
                self.done += self._tokens
            else:
                await asyncio.sleep(PIECE / 2)


async def _run(places: OfflinePlaces, jobs: list[Job], until: int) -> None:
    """Until all of them together have had so many tokens."""
    feeders = [asyncio.create_task(job.feed()) for job in jobs for _ in range(2)]
    while sum(job.done for job in jobs) < until:
        await asyncio.sleep(PIECE)
    for feeder in feeders:
        feeder.cancel()
    await asyncio.gather(*feeders, return_exceptions=True)


@pytest.mark.parametrize("places", [1, 2])
def test_jobs_share_a_replica_by_the_weights_of_their_tenants(places: int) -> None:
    async def share() -> Counter[str]:
        offline = OfflinePlaces(places, WEIGHTS, patience=100 * PIECE, clock=lambda: 0.0)
        jobs = {tenant: Job(offline, tenant, tokens) for tenant, tokens in {"a": 100, "b": 300, "c": 150}.items()}
        await _run(offline, list(jobs.values()), 40_000)
        return Counter({tenant: job.done for tenant, job in jobs.items()})

    done = asyncio.run(share())
    for tenant, part in {"a": 0.25, "b": 0.25, "c": 0.5}.items():
        assert done[tenant] / done.total() == pytest.approx(part, rel=0.1), done


def test_two_jobs_of_a_tenant_have_the_share_of_one() -> None:
    async def share() -> list[int]:
        offline = OfflinePlaces(2, WEIGHTS, patience=100 * PIECE, clock=lambda: 0.0)
        jobs = [Job(offline, tenant, 100) for tenant in "aab"]
        await _run(offline, jobs, 30_000)
        return [job.done for job in jobs]

    *both, alone = asyncio.run(share())
    assert sum(both) == pytest.approx(alone, rel=0.1)


def test_a_single_tenant_is_told_at_once_that_there_is_no_place() -> None:
    async def ask() -> list[bool]:
        offline = OfflinePlaces(2, WEIGHTS, patience=3600.0)
        took = [await offline.take("a") for _ in range(3)]
        offline.give_back("a", 100)
        return [*took, await offline.take("a")]

    assert asyncio.run(ask()) == [True, True, False, True]


def test_no_place_is_kept_for_one_that_is_gone() -> None:
    async def ask() -> None:
        now = 0.0
        offline = OfflinePlaces(1, WEIGHTS, patience=0.001, clock=lambda: now)
        assert await offline.take("a")
        assert not await offline.take("b"), "it waited, and no place became free"
        offline.give_back("a", 100)
        # `b` would be next, and does not wait.
        assert await offline.take("a")
        now += 3600.0
        assert not await offline.take("a"), "nobody else is there, and it is told at once"
        assert offline.in_hand == 1

    asyncio.run(ask())


def test_what_a_tenant_is_owed_is_not_lost_by_a_piece_that_takes_long() -> None:
    async def ask() -> None:
        now = 0.0
        offline = OfflinePlaces(1, WEIGHTS, patience=0.001, clock=lambda: now)

        for tenant, tokens in (("b", 1000), ("a", 100), ("b", 1000)):
            assert await offline.take(tenant)
            offline.give_back(tenant, tokens)
        # `a` is owed some; its next piece takes longer than tenants are remembered for.
        assert await offline.take("a")
        now = 5.5
        assert not await offline.take("b")
        now = 6.0
        offline.give_back("a", 100)
        assert await offline.take("c")
        waiting = {tenant: asyncio.create_task(offline.take(tenant)) for tenant in "ba"}
        await asyncio.sleep(0)
        offline.give_back("c", 0)
        assert {tenant: await one for tenant, one in waiting.items()} == {"a": True, "b": False}

    asyncio.run(ask())


def test_a_piece_whose_job_stops_while_it_waits_leaves_its_place_to_the_next() -> None:
    async def ask() -> None:
        offline = OfflinePlaces(1, WEIGHTS, patience=3600.0)
        assert await offline.take("a")
        goes, stays = (asyncio.create_task(offline.take(tenant)) for tenant in "bc")
        await asyncio.sleep(0)
        goes.cancel()
        offline.give_back("a", 100)
        assert await stays
        with pytest.raises(asyncio.CancelledError):
            await goes
        assert offline.in_hand == 1

    asyncio.run(ask())


def test_a_place_that_came_just_when_its_job_stopped_is_not_lost() -> None:
    async def ask() -> None:
        offline = OfflinePlaces(1, WEIGHTS, patience=3600.0)
        assert await offline.take("a")
        goes = asyncio.create_task(offline.take("b"))
        await asyncio.sleep(0)
        offline.give_back("a", 100)
        assert offline.in_hand == 1
        goes.cancel()
        with pytest.raises(asyncio.CancelledError):
            await goes
        assert offline.in_hand == 0

    asyncio.run(ask())


def test_a_real_replica_shares_its_pieces_by_weight_and_knows_its_tenants(untrained_model: Path) -> None:
    tenants = {name: {"file": "keys", "weight": weight} for name, weight in {"a": 1, "b": 1, "c": 2}.items()}
    model = {"name": str(untrained_model), "device": "cpu", "threads": 1}
    embedding = EmbeddingParameters()
    owners = np.arange(4, dtype=np.int32)

    async def share() -> Counter[str]:
        replica = ModelDeployment(
            ServiceParameters.model_validate({"model": model, "tenants": tenants}), "untrained", versions={}
        )
        assert (await replica.card()).tenants == ("default", "a", "b", "c")
        texts = pa.array([f"Ada has {n} goats." for n in range(4)])
        piece = prepare_texts(await replica.spec(), embedding, texts)[0].to_ipc()
        planned = (await replica.card()).identity
        refused = await replica.process(piece, Wanted(embedding=embedding), owners, planned, "nobody")
        assert isinstance(refused, Refusal)
        assert (refused.status, refused.reason) == (422, "unknown_tenant")
        for changed in ({"fingerprint": "0" * 64}, {"backend": "onnxruntime"}, {"dtype": "bfloat16"}):
            refused = await replica.process(
                piece, Wanted(embedding=embedding), owners, replace(planned, **changed), "a"
            )
            assert isinstance(refused, Refusal)
            assert (refused.status, refused.reason) == (409, "another_model")
            assert refused.message.startswith("these replicas hold untrained in torch float32 now, and the job was")
        done = Counter[str]()

        async def feed(tenant: str) -> None:
            while sum(done.values()) < 200:
                result = await replica.process(piece, Wanted(embedding=embedding), owners, planned, tenant)
                if isinstance(result, Refusal):
                    await asyncio.sleep(0.01)
                else:
                    done[tenant] += 1

        await asyncio.gather(*(feed(tenant) for tenant in "aabbcc"))
        return done

    done = asyncio.run(share())
    for tenant, part in {"a": 0.25, "b": 0.25, "c": 0.5}.items():
        assert done[tenant] / done.total() == pytest.approx(part, rel=0.1), done
