"""The work of a model is timed."""

import os
import socket
import time
from collections import Counter
from dataclasses import replace

from actors.engine.pass_stats import LengthBucket, PassStats
from pipelines.output.agreement import RowAgreement
from pipelines.stages.model.run import ModelRun

STATS = PassStats({64: LengthBucket(2, 9, 100, 120, 0.5)}, Counter({256: 2}))


def test_the_clock_runs_from_beginning_to_end() -> None:
    begun = ModelRun.begin()
    time.sleep(0.02)
    done = begun.done(STATS)
    assert done.node == socket.gethostname() == os.uname().nodename
    assert 0.02 <= done.seconds <= time.time() - begun.started
    assert ModelRun.from_table(done.to_table()) == done
    compared = replace(done, agreement=RowAgreement(2, (True, False), (0.0, 0.5), (1.0, 0.75)))
    assert ModelRun.from_table(compared.to_table()) == compared
