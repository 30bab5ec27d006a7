"""Bundles behind huggingface-inference-toolkit's own web service, which is what Inference Endpoints run.

`make test-more` makes its environment, in build/toolkit; without it these tests are skipped.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from huggingface_hub import InferenceClient

from actors.parameters import ModelParameters
from pipelines.console import open_console
from pipelines.export.bundle.bundle import Request, bundle
from tests.pipelines.processes import Command, free_port

ROOT = Path(__file__).parents[4]
PYTHON = Path(os.environ.get("SPANMILL_TOOLKIT_PYTHON", ROOT / "build" / "toolkit" / "bin" / "python"))
APPLICATION = "huggingface_inference_toolkit.webservice_starlette:app"
LOVELACE = "Ada Lovelace was born in London in 1815."
WHERE: dict[str, Any] = {"question": "Where was Ada Lovelace born?", "context": LOVELACE}
JSON = {"Content-Type": "application/json"}

pytestmark = [
    pytest.mark.more,
    pytest.mark.skipif(not PYTHON.is_file(), reason=f"there is no {PYTHON}: make build/toolkit/installed"),
]


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    port = free_port()
    words = (str(PYTHON), "-I", "-m", "uvicorn", APPLICATION, "--host", "127.0.0.1", "--port", str(port))
    command, url = (
        Command(words, folder, {"HF_MODEL_DIR": str(folder), "HF_HUB_OFFLINE": "1"}),
        f"http://127.0.0.1:{port}",
    )
    try:
        command.wait_until(lambda: _says_ok(f"{url}/health"))
        yield url
    finally:
        command.clean_up()


def _says_ok(url: str) -> bool:
    try:
        return bool(httpx2.get(url).text == "Ok")
    except httpx2.TransportError:
        return False


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("toolkit") / "bundle"
    bundle(Request(ModelParameters(name="minilm-qa"), str(folder)), open_console(), print)
    with _served(folder) as found:
        yield found


def test_the_client_asks(url: str) -> None:
    client = InferenceClient(url)
    one: Any = client.question_answering(**WHERE)
    assert (one.answer, LOVELACE[one.start : one.end]) == ("London", "London")
    two: Any = client.question_answering(**WHERE, top_k=2, max_answer_len=5, handle_impossible_answer=True)
    assert two[0].answer == "London"
    vector = client.feature_extraction(LOVELACE, normalize=True)
    assert vector.shape == (384,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    near, far = client.sentence_similarity("Where was Ada born?", other_sentences=[LOVELACE, "The mill stands still."])
    assert near > far


@pytest.mark.parametrize("path", ["/", "/predict"])
def test_lists_of_rows_get_lists(url: str, path: str) -> None:
    answers = httpx2.post(f"{url}{path}", json={"inputs": [WHERE] * 40}).json()
    assert [answer["answer"] for answer in answers] == ["London"] * 40
    vectors = httpx2.post(f"{url}{path}", json={"inputs": [LOVELACE, "mill"]}).json()
    assert np.array(vectors).shape == (2, 384)


def test_parameters_come_in_the_address_too(url: str) -> None:
    assert len(httpx2.post(f"{url}?top_k=2", json={"inputs": WHERE}).json()) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"inputs": ', "unexpected end of data"),
        (b'{"text": "x"}', "Body needs to provide a inputs key"),
        (b'{"inputs": []}', "there are no inputs; send one at least"),
        (b'{"inputs": ""}', "the text of input 0 is empty; leave the input out"),
        (b'{"inputs": {"question": "Who?"}}', "inputs.context: field required"),
        (b'{"inputs": "x", "parameters": {"top_k": 2}}', "parameters.top_k: there is no such field here"),
    ],
)
def test_what_is_wrong_is_400_and_named(url: str, content: bytes, says: str) -> None:
    reply = httpx2.post(url, content=content, headers=JSON)
    assert reply.status_code == 400
    assert says in reply.json()["error"]
    assert httpx2.post(url, json={"inputs": WHERE}).json()["answer"] == "London"
