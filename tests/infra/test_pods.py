"""What the manifests run, run as pods are: as a user without rights, on a root that nobody writes to."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.infra.manifests import KUBERAY, ROOT, container, of_kind, pods, rendered
from tests.infra.pod import Pod, needs_namespaces

pytestmark = [pytest.mark.ray, pytest.mark.more, pytest.mark.timeout(1200)]

_KEY = "first"
_SCRIPT = r"""
touch /probe 2>/dev/null && echo "ROOT IS WRITABLE"
touch {home}/probe 2>/dev/null && echo "HOME IS WRITABLE"
ulimit -n 65536
ray start --head --num-cpus={cpus} --dashboard-host=0.0.0.0 --metrics-export-port=8080 --block >/tmp/head.log 2>&1 &
node=$!
wait_for() {{
    until "$@" >/tmp/last.log 2>&1; do
        kill -0 "$node" || {{ tail -n 20 /tmp/head.log; exit 1; }}
        sleep 1
    done
}}
wait_for ray health-check --address "$RAY_ADDRESS"
wait_for serve deploy /etc/serve/serve.yaml
wait_for curl --silent --fail http://127.0.0.1:8000/ready
echo "ANSWER $(curl --silent http://127.0.0.1:8000/answer -H 'Authorization: Bearer {key}' \
    --json '{{"inputs": [{{"question": "Where was Ada born?", "context": "Ada was born in London."}}]}}')"
echo "WITHOUT KEY $(curl --silent --output /dev/null --write-out '%{{http_code}}' \
    http://127.0.0.1:8000/answer --json '{{}}')"
{own}; echo "OWN $?"
{shared}; echo "SHARED $?"
echo "ROWS $(python -c 'import pyarrow.dataset as d; print(*(d.dataset(f"/tmp/{{one}}", format="parquet", \
    exclude_invalid_files=True).count_rows() for one in ("own", "shared")))')"
"""


def test_service_and_jobs_run_without_rights_on_a_root_that_is_read_only(tmp_path: Path) -> None:
    needs_namespaces()
    service, job, shared = rendered("overlays/cpu/service"), rendered("overlays/cpu/job"), rendered("shared-job")
    overlay = KUBERAY / "overlays" / "cpu"
    corpus = str(ROOT / "samples" / "corpus.parquet")

    # The very commands, but that input and output are of this machine, and the model is the one that ships.
    places = {"s3://bucket/questions/": corpus, "s3://bucket/answers/": "/tmp/own"}
    own = [places.get(word, word) for word in shlex.split(of_kind(job, "RayJob")["spec"]["entrypoint"])]
    own += ["--model", "minilm-qa", "--limit", "20"]
    submit = container(of_kind(shared, "Job")["spec"]["template"])
    command = [word.replace("spanmill-head-svc", "127.0.0.1") for word in submit["command"]]
    places["s3://bucket/answers/"] = "/tmp/shared"
    on_replicas = [*(places.get(word, word) for word in submit["args"]), "--limit", "20"]

    pod = Pod(
        pods(service)["service-worker"],
        {"/etc/serve": overlay / "service", "/etc/spanmill": overlay / "job"},
        {
            "SPANMILL_KEYS": _KEY,
            "RAY_ADDRESS": "127.0.0.1:6379",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "token-of-this-test",
            "RAY_USAGE_STATS_ENABLED": "0",
        },
    )
    script = _SCRIPT.format(
        home="/home/spanmill",
        cpus=16,
        key=_KEY,
        own=shlex.join([*command, *own]),
        shared=shlex.join([*command, *on_replicas]),
    )
    (room := tmp_path / "room").mkdir()
    done = pod.run(script, room, seconds=1100)
    said = done.stdout
    assert "WRITABLE" not in said, said
    [answer] = re.findall(r"^ANSWER (.+)$", said, re.MULTILINE) or pytest.fail(said + done.stderr)
    assert json.loads(answer)["answers"][0][0]["answer"] == "London"
    assert "WITHOUT KEY 401" in said
    assert "OWN 0" in said, said
    assert "SHARED 0" in said, said
    assert "ROWS 20 20" in said, said
