"""The model actor: one copy of the model, for offline shards and online requests alike. Does not know Ray or HTTP."""

import math
import time
from functools import cached_property

import pyarrow as pa

from actors.arrays import Ints
from actors.engine.device_lock import DeviceLock
from actors.engine.engine import Engine
from actors.engine.inference_task import Wanted
from actors.engine.output_columns import to_table, wanted_columns
from actors.engine.pass_stats import PassStats
from actors.errors import ModelError
from actors.models.hub import find_model, fingerprint
from actors.models.loading import load_engine
from actors.parameters import BatchingParameters, ModelParameters, SharingParameters
from actors.scheduling.pass_log import PassLog
from actors.scheduling.request import QueuedRequest
from actors.scheduling.scheduler import OnlineScheduler
from actors.tenants import DEFAULT_TENANT, TenantWeights
from actors.tokenization.tokenized import Tokenized


class ModelActor:
    """One copy of the model on one device."""

    def __init__(
        self,
        model: ModelParameters,
        batching: BatchingParameters,
        with_qa_head: bool,
        expected: str | None = None,
        sharing: SharingParameters | None = None,
        weights: TenantWeights | None = None,
    ) -> None:
        """Loads the model.

        Args:
            with_qa_head: whether answers will be asked for.
            expected: fingerprint that the model must have; None takes any.
            sharing: how online calls and shards share the device; None where there are only shards.
            weights: of the tenants whose online calls share it; None for one tenant.

        Raises:
            ModelError: it cannot be found or used, or is another one than expected.
        """
        self._folder, self._backend = find_model(model), model.backend
        if expected is not None and self.fingerprint != expected:
            raise ModelError(
                f"{model.name} differs between machines: here it is {self.fingerprint[:12]}, "
                f"the job was planned with {expected[:12]}; pin model.revision, or copy the same folder everywhere"
            )
        self.engine = load_engine(self._folder, model, batching, with_qa_head, DeviceLock(sharing))
        self.scheduler = None if sharing is None else _scheduler(self.engine, sharing, weights)

    @cached_property
    def fingerprint(self) -> str:
        """Of the files that decide what the model computes; they are read when it is asked for."""
        return fingerprint(self._folder, self._backend)

    def process(self, prepared_ipc: pa.Buffer, wanted: Wanted) -> tuple[pa.Table, PassStats]:
        """Runs one prepared shard in the offline class; several threads may call at once.

        Returns:
            The columns of `actors.engine.output_columns` that are wanted, one row per row of the shard.
        """
        return self._process(Tokenized.from_ipc(prepared_ipc), wanted)

    def process_part(self, prepared_ipc: pa.Buffer, wanted: Wanted, owners: Ints) -> tuple[pa.Table, PassStats]:
        """As `process`, for these owners of a shard, [n]; one row for each of their results, in this order."""
        return self._process(Tokenized.from_ipc(prepared_ipc).of_owners(owners), wanted)

    def ask(
        self,
        prepared: Tokenized,
        wanted: Wanted,
        seconds: float | None = None,
        *,
        is_probe: bool = False,
        log: PassLog | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> QueuedRequest:
        """Queues an online request, which shares passes with others that wait; its future holds the results.

        Args:
            seconds: after which it is not wanted any more; None waits for ever.
            is_probe: that it is no sign of online traffic, and offline passes stay as long as they are.
            log: is told of its passes; None where it is not traced.
            tenant: whose it is.

        Raises:
            QueueFull: too many wait already, or it would wait for too long.
        """
        if self.scheduler is None:
            raise ValueError("an actor without `sharing` takes shards only")
        task = self.engine.begin(prepared, wanted)
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        return self.scheduler.submit(task, deadline, is_probe=is_probe, log=log, tenant=tenant)

    def _process(self, prepared: Tokenized, wanted: Wanted) -> tuple[pa.Table, PassStats]:
        columns = wanted_columns(wanted)
        results = self.engine.finish(self.engine.begin(prepared, wanted))
        return to_table(columns, results, wanted), results.stats


def _scheduler(engine: Engine, sharing: SharingParameters, weights: TenantWeights | None) -> OnlineScheduler:
    quantum, max_wait = sharing.quantum_ms / 1000, sharing.queue_ms / 1000
    return OnlineScheduler(engine, quantum, sharing.queue_requests, max_wait, weights=weights)
