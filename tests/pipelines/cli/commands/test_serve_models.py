"""`spanmill serve` with several models: clients and jobs that choose one, and models that cannot be served together."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx2
import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import InferenceClient
from openai import NotFoundError, OpenAI

from actors.parameters import EmbeddingParameters
from pipelines.cli.commands.serve import service_of
from pipelines.config.loader import load_config
from pipelines.config.service import ServeConfig
from pipelines.errors import ConfigError
from tests.pipelines.jobs import bare_engine, mixed_rows, same_vector, write_jsonl
from tests.pipelines.processes import Command, free_port

pytestmark = pytest.mark.ray

SHIPPED = "minilm-qa"
TEXTS = [row["context"] for row in mixed_rows(12)]


def _serve(folder: Path, *words: str) -> Command:
    settings = ("ray.object_store_mb=200", "limits.timeout_ms=300_000", "model.threads=1")
    return Command(("spanmill", "serve", *words, *(word for key in settings for word in ("--set", key))), folder)


def _refused(folder: Path, *words: str) -> tuple[int, str]:
    command = _serve(folder, "--port", str(free_port()), *words)
    try:
        code, _, errors = command.end()
        return code, errors
    finally:
        command.clean_up()


def test_two_models_of_one_name_are_refused(
    untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Folders beside the command have the name of their last part only once it is known that they are folders.
    for name in ("a/mine", "b/mine"):
        copytree(untrained_model, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    config = load_config(ServeConfig, None, ["models=[a/mine, b/other, b/mine]"])
    with pytest.raises(ConfigError, match="models: two models are called mine; give one of them a `name` of its own"):
        service_of(config)


@pytest.mark.more
def test_replicas_that_no_machine_has_room_for_are_named(untrained_model: Path, tmp_path: Path) -> None:
    cpus = float(os.cpu_count() or 1)
    words = ("--model", SHIPPED, "--model", str(untrained_model), "--set", f"replicas.cpus={cpus:g}")
    code, errors = _refused(tmp_path, *words)
    assert code == 2, errors
    wanted = f"wanted are minilm-qa 1 of {cpus:g} CPU; untrained 1 of {cpus:g} CPU; gateway 1 of 0.1 CPU"
    assert wanted in errors
    assert "lower replicas.cpus, replicas.gpus or replicas.min" in errors


@pytest.fixture(scope="module")
def url(untrained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a service of the model that ships and, under a name of its own, the untrained one."""
    folder, port = tmp_path_factory.mktemp("service"), free_port()
    entry = {"name": "plain/texts", "model": {"name": str(untrained_model)}, "embedding": {"pooling": "cls"}}
    config = {"models": [{"model": {"name": SHIPPED}}, entry], "replicas": {"cpus": 0.3}, "http": {"port": port}}
    (folder / "serve.yaml").write_text(json.dumps(config))
    command = _serve(folder, "--config", "serve.yaml")
    try:
        command.wait_until(lambda: "ready: http" in command.said()[1])
        yield f"http://127.0.0.1:{port}"
    finally:
        command.clean_up()


@pytest.mark.more
def test_clients_choose_by_name_and_by_path(url: str, untrained_model: Path) -> None:
    found: Any = InferenceClient(base_url=f"{url}/models/{SHIPPED}", timeout=300).question_answering(
        question="Where was Ada Lovelace born?", context="Ada Lovelace was born in London in 1815."
    )
    assert found.answer == "London"
    rows = [{"text": text} for text in TEXTS]
    expected = bare_engine(untrained_model, rows, embedding=EmbeddingParameters(pooling="cls"))
    for base, name in (("/v1", "plain/texts"), ("/models/plain/texts/v1", "plain/texts"), ("/v1", "texts")):
        with OpenAI(base_url=f"{url}{base}", api_key="x", timeout=300) as client:
            given = client.embeddings.create(model=name, input=TEXTS)
        for one, row in zip(given.data, expected, strict=True):
            assert np.allclose(one.embedding, row["embedding"], atol=1e-4)
    with OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [SHIPPED, "plain/texts"]
        with pytest.raises(NotFoundError, match="ask for 'minilm-qa' or 'plain/texts'"):
            client.embeddings.create(model="other", input=TEXTS)
    assert httpx2.get(f"{url}/ready", timeout=300).json()["model"] == "minilm-qa, plain/texts"
    assert httpx2.get(f"{url}/models/plain/texts/model", timeout=300).json()["name"] == "plain/texts"


@pytest.mark.more
def test_metrics_say_of_which_model_they_are(url: str) -> None:
    for prefix in (f"/models/{SHIPPED}", "/models/plain/texts"):
        assert httpx2.post(f"{url}{prefix}/embed", json={"inputs": TEXTS[:1]}, timeout=300).status_code == 200
    deadline = time.monotonic() + 180
    wanted = {
        (metric, model) for metric in ("requests_total", "served_rows_total") for model in (SHIPPED, "plain/texts")
    }
    while True:
        page = httpx2.get(f"{url}/metrics", timeout=300).text
        if wanted <= set(re.findall(r'^ray_spanmill_(\w+)\{.*model="([^"]+)"', page, re.MULTILINE)):
            return
        assert time.monotonic() < deadline, page
        time.sleep(1)


@pytest.mark.more
@pytest.mark.parametrize("name", [SHIPPED, "untrained"])
def test_a_job_runs_on_the_replicas_of_its_own_model(
    url: str, untrained_model: Path, tmp_path: Path, name: str
) -> None:
    texts = [{"id": str(n), "text": text} for n, text in enumerate(TEXTS)]
    corpus = write_jsonl(tmp_path / "corpus.jsonl", texts)
    model = SHIPPED if name == SHIPPED else str(untrained_model)
    words = ("--pool", "serve", "--model", model)
    code, _, errors = Command(("spanmill", "embed", str(corpus), str(tmp_path / "out"), *words), tmp_path).end()
    assert code == 0, errors
    rows = {row["id"]: row["embedding"] for row in pq.read_table(tmp_path / "out").to_pylist()}
    folder = Path(__file__).parents[4] / "models" / SHIPPED if name == SHIPPED else untrained_model
    for text, wanted in zip(texts, bare_engine(folder, texts, embedding=EmbeddingParameters()), strict=True):
        assert same_vector(rows[text["id"]], wanted["embedding"])


@pytest.mark.more
def test_a_job_whose_model_is_none_of_them_is_told_which_there_are(
    url: str, untrained_model: Path, tmp_path: Path
) -> None:
    assert url
    other = Path(copytree(untrained_model, tmp_path / "other"))
    weights = other / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-4:] = b"\0\0\0\0" if data[-4:] != b"\0\0\0\0" else b"\0\0\x80?"
    weights.write_bytes(bytes(data))
    corpus = write_jsonl(tmp_path / "corpus.jsonl", [{"id": "0", "text": TEXTS[0]}])
    words = ("--pool", "serve", "--model", str(other))
    code, _, errors = Command(("spanmill", "embed", str(corpus), str(tmp_path / "out"), *words), tmp_path).end()
    assert code == 2, errors
    assert "none of them is" in errors
    assert SHIPPED in errors
    assert "plain/texts" in errors
