"""Hosts that die, are cut off and join while jobs run and requests come in."""

import signal

import pytest

from tests.cluster.bench import Bench
from tests.cluster.faults import FAULTS, cases, strike
from tests.cluster.load import asking

pytestmark = [pytest.mark.more, pytest.mark.ray]


@pytest.mark.parametrize(("kind", "pool"), cases())
def test_rows_are_those_of_an_undisturbed_run_and_only_requests_in_flight_fail(
    running: Bench, kind: str, pool: str
) -> None:
    verdict = strike(running, FAULTS[kind], pool)
    assert verdict.rows_equal
    assert verdict.newcomer_worked
    assert verdict.failed_beyond == []
    assert verdict.requests > 0


def test_a_service_whose_command_died_with_its_host_is_taken_over_and_ended(running: Bench) -> None:
    cluster = running.cluster
    with asking([running.url(host) for host in cluster.workers], cluster.token) as load:
        cluster.head.kill()
        cluster.head.boot()
        cluster.start_head()
        running.wait_for_replicas()
        service = running.start_service(cluster.head)
    assert not load.failed()
    service.signal(signal.SIGTERM)
    code, said = service.end()
    assert code == 0, said
    assert running.running_replicas() == {}
