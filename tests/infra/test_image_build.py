"""The image, built on a Debian of its own and run as its user: service, health check, a job, and what is in it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import httpx2
import pytest

from actors.parameters import QAParameters
from infra.build_image import Engine, own_version
from tests.infra.containers import DATA, WANTED, Container, Image, unpacked
from tests.infra.manifests import ROOT
from tests.pipelines.jobs import bare_engine, mixed_rows, part_rows, same_answer, write_jsonl
from tests.pipelines.processes import free_port

MISSING = [program for program in (*WANTED, "apt-get", "mmdebstrap") if shutil.which(program) is None]
pytestmark = [
    pytest.mark.more,
    pytest.mark.ray,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="root is needed, to mount and to become another user"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)} (packages of Debian)"),
]
COMPILERS = {"as", "c++", "cargo", "cc", "clang", "cpp", "g++", "gcc", "go", "ld", "make", "nvcc", "rustc", "tcc"}
MODEL = ROOT / "models" / "minilm-qa"
TAG = f"spanmill:{own_version()}"
PATIENCE = 900.0
"""Seconds; a busy machine takes minutes to start Ray."""
LARGEST_BYTES = 2_500_000_000
"""torch with CUDA alone takes more."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """For images, which take gigabytes: none of it is kept, whatever fails."""
    # Under /var/tmp, which is no memory: /tmp is on some machines.
    path = Path("/var/tmp") / f"spanmill-image-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        subprocess.run(_storage(path).words("umount", "--all"), capture_output=True)
        shutil.rmtree(path)


@pytest.fixture(scope="module")
def image(folder: Path) -> Image:
    """Built as `make image-here` does."""
    built = subprocess.run(
        [
            *(sys.executable, "-m", "infra.build_image", "--debian"),
            *("--storage", str(_storage(folder).storage), "--output", str(folder / "sbom")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]
    assert f"{TAG}: {_storage(folder).size_of(TAG)}" in built.stdout
    return unpacked(_storage(folder), TAG)


def _storage(folder: Path) -> Engine:
    return Engine("buildah", folder / "storage")


@contextmanager
def _running(image: Image, data: Path, *words: str, **env: str) -> Iterator[Container]:
    container = Container(image, words, data, env)
    try:
        yield container
    finally:
        container.clean_up()


def test_what_it_is_made_of_is_written_beside_it(image: Image, folder: Path) -> None:
    python, debian = (json.loads((folder / "sbom" / f"{kind}.cdx.json").read_text()) for kind in ("python", "debian"))
    installed = {path.name for path in image.root.glob("opt/spanmill/lib/python3*/site-packages/*.dist-info")}
    assert len(python["components"]) == len(installed)
    releases = {(component["name"], component["version"]) for component in python["components"]}
    assert {("ray", version("ray")), ("spanmill", own_version())} <= releases
    status = (image.root / "var/lib/dpkg/status").read_text().splitlines()
    packages = {line.removeprefix("Package: ") for line in status if line.startswith("Package: ")}
    assert {c["name"] for c in debian["components"] if c.get("purl", "").startswith("pkg:deb/")} == packages
    assert {"tini", "wget"} <= packages


def test_no_compiler_no_pip_and_nothing_of_the_build_is_in_it(image: Image) -> None:
    names = {path.name for path in image.root.rglob("*") if path.is_file() and os.access(path, os.X_OK)}
    assert "sh" in names
    assert not names & COMPILERS
    assert not list((image.root / "opt/spanmill/bin").glob("pip*"))
    assert [path.name for path in (image.root / "opt").iterdir()] == ["spanmill"]
    assert not (image.root / "etc/pip.conf").exists()
    assert not (image.root / "etc/xdg/pip").exists()
    for folder in ("build", "out", "tmp/*", "root/.cache", "var/lib/apt/lists/*", "var/cache/apt/*"):
        assert not list(image.root.glob(folder)), folder


def test_it_says_what_it_is_and_its_size(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in image.config["Labels"].items()}
    assert (labels["title"], labels["version"], labels["licenses"]) == ("Spanmill", own_version(), "Apache-2.0")
    assert image.user == 1000
    words = ["du", "--summarize", "--bytes", "--one-file-system", str(image.root)]
    size = int(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[0])
    with capsys.disabled():
        print(f"\n{TAG}: {size / 1e6:,.0f} MB of files")
    assert size < LARGEST_BYTES


def test_it_serves_is_healthy_and_ends_on_sigterm(image: Image, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (row,) = mixed_rows(1)
    (expected,) = bare_engine(MODEL, [row], QAParameters())
    with _running(image, tmp_path, SPANMILL_PORT=str(port)) as container:
        container.wait_until(lambda: "no keys are wanted" in container.said(), PATIENCE)
        assert container.health() != 0, "it is not ready yet"
        container.wait_until(lambda: "ready: http" in container.said(), PATIENCE)
        assert container.health() == 0
        reply = httpx2.post(
            f"{url}/answer", json={"context": row["context"], "questions": [row["question"]]}, timeout=300
        )
        assert reply.status_code == 200, reply.text
        ((found,),) = reply.json()["answers"]
        assert same_answer(found, expected["answers"][0])
        assert container.users() == {image.user}
        assert container.stop() == 0, container.said()
        assert container.said().splitlines()[-1] == "stopped"


def test_a_job_writes_its_answers(image: Image, tmp_path: Path) -> None:
    rows = mixed_rows(12)
    write_jsonl(tmp_path / "in.jsonl", rows)
    with _running(image, tmp_path, "spanmill", "answer", f"{DATA}/in.jsonl", f"{DATA}/out") as container:
        assert container.process.wait(PATIENCE) == 0, container.said()
    found = part_rows(tmp_path / "out")
    expected = bare_engine(MODEL, rows, QAParameters())
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert all(same_answer(row, one["answers"][0]) for row, one in zip(found, expected, strict=True))
    assert {path.stat().st_uid for path in (tmp_path / "out").rglob("*")} == {image.user}


def test_a_container_without_a_service_is_healthy_while_it_runs(image: Image, tmp_path: Path) -> None:
    with _running(image, tmp_path, "sh", "-c", "echo runs; sleep 600") as container:
        container.wait_until(lambda: "runs" in container.said())
        assert container.health() == 0
        assert container.stop() == 128 + 15
