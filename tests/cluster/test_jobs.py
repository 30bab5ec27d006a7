"""A service and jobs on a cluster of several hosts, from whichever host they are started."""

import json
import signal

import httpx2
import pytest

from tests.cluster.bench import Bench, Job
from tests.cluster.host import ROOT
from tests.cluster.hosts import BUCKET, MODEL
from tests.cluster.load import ANSWER, BODY, asking
from tests.pipelines.jobs import same_answer
from tests.waiting import until

pytestmark = [pytest.mark.more, pytest.mark.ray]

ADDRESS = "ray.address=auto"


def _nodes(job: Job) -> set[str]:
    """The hosts that computed it."""
    return {record["node"] for record in job.events("shard committed")}


def test_every_host_answers_requests(running: Bench) -> None:
    cluster = running.cluster
    for host in (cluster.head, *cluster.workers):
        headers = {"Authorization": f"Bearer {cluster.token}"}
        response = httpx2.post(f"{running.url(host)}/answer", json=BODY, headers=headers, timeout=120)
        assert response.json()["answers"][0][0]["answer"] == ANSWER
        assert httpx2.post(f"{running.url(host)}/answer", json=BODY, timeout=120).status_code == 401


def test_metrics_of_all_hosts_are_on_one_page(running: Bench) -> None:
    headers = {"Authorization": f"Bearer {running.cluster.token}"}

    def shown() -> bool:
        page = httpx2.get(f"{running.url(running.cluster.head)}/metrics", headers=headers, timeout=120).text
        lines = [line for line in page.splitlines() if line.startswith("ray_spanmill_pass_windows_count{")]
        hosts = set(running.running_replicas().values())
        return all(any(f'NodeAddress="{address}"' in line for line in lines) for address in hosts)

    # Passes of warm-up are enough. Ray's processes report every ten seconds.
    until(shown)


def test_jobs_on_the_services_replicas_and_with_a_pool_of_their_own_beside_requests(running: Bench) -> None:
    driver = running.cluster.workers[0]
    with asking([running.url(running.cluster.head)], running.cluster.token) as load:
        jobs = [
            running.start_job(driver, "--pool", "serve"),
            running.start_job(driver, keys=(ADDRESS, "pool.size=2", "pool.cpus=0.5")),
        ]
        for job in jobs:
            job.wait()
    assert not load.failed()
    assert load.done
    assert all(running.rows_equal(job.output) for job in jobs)
    assert _nodes(jobs[1]) == {host.name for host in running.cluster.workers}
    # The head has no CPUs, and no work.
    assert [event["nodes"] for event in jobs[1].events("run began")] == [2]


@pytest.mark.parametrize("words", [(), ("--pool", "serve")], ids=["own", "serve"])
def test_a_driver_outside_the_cluster_by_rays_client(running: Bench, words: tuple[str, ...]) -> None:
    outside = running.cluster.outside
    job = running.start_job(outside, *words, keys=(f"ray.address={running.cluster.client_address}",))
    job.wait()
    assert running.rows_equal(job.output)
    assert len(job.events("job complete")) == 1
    assert f"answered        {running.rows}" in job.command.said()


def test_an_estimate_by_rays_client_writes_nothing(running: Bench) -> None:
    outside = running.cluster.outside
    job = running.start_job(outside, "--estimate", keys=(f"ray.address={running.cluster.client_address}",))
    job.wait()
    assert "rows/s" in job.command.said()
    assert running.read(job.output) == []


def test_a_driver_outside_the_cluster_by_the_jobs_api(running: Bench) -> None:
    submit = ("ray", "job", "submit", f"--address={running.cluster.dashboard}", "--")
    # Its log lies where the dashboard runs it: on the head.
    job = running.start_job(running.cluster.outside, keys=(ADDRESS,), before=submit)
    job.wait()
    assert "succeeded" in job.command.said()
    assert running.rows_equal(job.output)


def test_the_model_by_url_with_credentials_in_the_config_alone(running: Bench) -> None:
    cluster = running.cluster
    storage = json.dumps(cluster.storage)
    bare = ("env", "-u", "AWS_ACCESS_KEY_ID", "-u", "AWS_SECRET_ACCESS_KEY", "-u", "AWS_ENDPOINT_URL")
    keys = (ADDRESS, f"model.storage={storage}", f"corpus.storage={storage}", f"output.storage={storage}")
    job = running.start_job(cluster.workers[1], "--model", MODEL, "--limit", "16", keys=keys, before=bare)
    job.wait()
    assert len(running.read(job.output)) == 16
    assert cluster.token not in job.command.said()


def test_a_service_that_gets_other_models_during_a_job(running: Bench) -> None:
    cluster = running.cluster
    other = f"{BUCKET}/models/other"
    for path in sorted((ROOT / "models" / "minilm-qa").iterdir()):
        content = path.read_bytes()
        if path.name == "config.json":
            content = json.dumps(json.loads(content) | {"note": "another model"}).encode()
        cluster.put(f"models/other/{path.name}", content)
    # As many shards as rows, so that it may take longer than the new models need to start.
    keys = ("corpus.shard_rows=1",)
    job = running.start_job(cluster.workers[1], "--pool", "serve", keys=keys)
    job.wait_for(3)
    # Its command must not end what the next ones start.
    running.service.signal(signal.SIGKILL)
    running.service.end()
    # The job's model is now the second one, in a deployment of its own.
    running.start_service(cluster.head, other, MODEL)
    code, said = job.command.end()
    # The replicas that are replaced may have had the time to finish it.
    if code:
        assert code == 3, said
        assert "another model" in said
        running.start_job(cluster.workers[1], "--pool", "serve", keys=keys, again=job.name).wait()
    assert running.rows_equal(job.output)
    later = running.start_job(cluster.workers[1], "--pool", "serve", "--limit", "16")
    later.wait()
    assert len(running.read(later.output)) == 16
    assert all(same_answer(row, running.undisturbed_rows()[row["id"]]) for row in running.read(later.output))
