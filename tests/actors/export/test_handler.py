"""The handler of a bundle, beside the engine that it stands on, and what it says of requests that are wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from actors.arrays import Floats
from actors.backends.pytorch.torch_weights import load_model
from actors.engine.engine import Engine
from actors.errors import ModelError
from actors.export.endpoint_settings import SETTINGS, EndpointSettings, EndpointTask, read_settings, write_settings
from actors.export.handler import EndpointHandler
from actors.models.loading import load_engine
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters
from actors.serving.types import Refused
from actors.tokenization.preprocess import prepare_pairs, prepare_texts
from tests.actors.helpers import GOLDEN, answers_of

DISTILBERT = GOLDEN / "models" / "distilbert"
LOVELACE = "Ada Lovelace was born in London in 1815. She wrote the first program for a machine of Charles Babbage."
WHERE = {"question": "Where was Ada Lovelace born?", "context": LOVELACE}
WHO = {"question": "Whose machine was it?", "context": f"{LOVELACE} " * 40}
TEXTS = ["Ada Lovelace", "The mill stands by the river. " * 200, "London"]


def bundled(folder: Path, settings: EndpointSettings) -> Path:
    """A golden model, and the settings beside it."""
    shutil.copytree(DISTILBERT, folder)
    write_settings(folder, settings)
    return folder


def make(folder: Path, task: EndpointTask = "question-answering", **settings: Any) -> EndpointHandler:
    return EndpointHandler(str(bundled(folder, EndpointSettings(task=task, **settings))))


@pytest.fixture(scope="module")
def handler(tmp_path_factory: pytest.TempPathFactory) -> EndpointHandler:
    return make(tmp_path_factory.mktemp("bundle") / "model")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load_engine(DISTILBERT, ModelParameters(device="cpu"), BatchingParameters(), with_qa_head=True)


def _expected(engine: Engine, pairs: list[dict[str, str]], qa: QAParameters) -> list[list[dict[str, Any]]]:
    questions, contexts = (pa.array([pair[key] for pair in pairs], pa.string()) for key in ("question", "context"))
    answers = engine.answer(prepare_pairs(engine.spec, qa, questions, contexts)[0], qa).answers
    assert answers is not None
    return [
        [
            {
                "answer": one.text or "",
                "score": pytest.approx(one.score, abs=1e-6),
                "start": max(one.start, 0),
                "end": max(one.end, 0),
            }
            for one in row
        ]
        for row in answers_of(answers)
    ]


def _vectors(engine: Engine, texts: list[str], embedding: EmbeddingParameters) -> Floats:
    found = engine.embed(prepare_texts(engine.spec, embedding, pa.array(texts))[0], embedding).embeddings
    assert found is not None
    return found


def _numbers(handler: EndpointHandler, body: dict[str, Any]) -> Floats:
    found: Floats = np.array(handler(body), dtype=np.float32)
    return found


def test_a_question_gets_an_object_and_questions_a_list(handler: EndpointHandler, engine: Engine) -> None:
    (one,), (other,) = _expected(engine, [WHERE, WHO], QAParameters())
    assert handler({"inputs": WHERE}) == one
    assert handler({"inputs": [WHERE, WHO]}) == [one, other]
    assert handler({"inputs": [WHERE]}) == [one]


def test_parameters_say_how(handler: EndpointHandler, engine: Engine) -> None:
    given: dict[str, Any] = {
        "top_k": 3,
        "doc_stride": 16,
        "max_answer_len": 4,
        "max_seq_len": 64,
        "max_question_len": 5,
        "handle_impossible_answer": True,
        "align_to_words": False,
    }
    expected = _expected(engine, [WHERE, WHO], QAParameters(**given))
    assert handler({"inputs": [WHERE, WHO], "parameters": given}) == expected
    assert handler({"inputs": WHERE, "parameters": given}) == expected[0]
    assert handler({"inputs": WHERE, "parameters": {"top_k": None}}) == handler({"inputs": WHERE})


def test_rows_of_a_list_share_passes(handler: EndpointHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    handler._engine.watch(lambda done: passes.append(done.size.windows))
    handler({"inputs": [WHERE] * 8})
    assert sum(passes) == 8
    assert len(passes) < 8


def test_texts_are_embedded(handler: EndpointHandler, engine: Engine) -> None:
    expected = _vectors(engine, TEXTS, EmbeddingParameters())
    found: Any = handler({"inputs": TEXTS})
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert isinstance(found[0][0], float)
    np.testing.assert_allclose(_numbers(handler, {"inputs": TEXTS[0]}), expected[0], atol=1e-6)
    raw = _vectors(engine, TEXTS, EmbeddingParameters(normalize=False))
    for body in ({"normalize": False}, {"parameters": {"normalize": False}}):
        np.testing.assert_allclose(_numbers(handler, {"inputs": TEXTS} | body), raw, atol=1e-5)


def test_sentences_are_compared(handler: EndpointHandler, engine: Engine) -> None:
    source, *others = _vectors(engine, TEXTS, EmbeddingParameters())
    found: Any = handler({"inputs": {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}})
    np.testing.assert_allclose(found, np.asarray(others) @ source, atol=1e-6)


def test_what_it_gives_is_json(handler: EndpointHandler) -> None:
    for inputs in (WHERE, [WHERE], "text", TEXTS, {"source_sentence": "a", "sentences": ["b"]}):
        found = handler({"inputs": inputs})
        assert json.loads(json.dumps(found)) == found


def test_settings_of_the_bundle_are_the_defaults(tmp_path: Path, engine: Engine) -> None:
    qa, embedding = QAParameters(top_k=2, max_answer_len=3), EmbeddingParameters(pooling="cls", normalize=False)
    handler = make(tmp_path / "bundle", qa=qa, embedding=embedding, max_inputs=2)
    assert handler({"inputs": WHERE}) == _expected(engine, [WHERE], qa)[0]
    one: Any = handler({"inputs": WHERE, "parameters": {"top_k": 1}})
    assert one == _expected(engine, [WHERE], qa)[0][0]
    np.testing.assert_allclose(
        _numbers(handler, {"inputs": TEXTS[:2]}), _vectors(engine, TEXTS[:2], embedding), atol=1e-5
    )
    with pytest.raises(Refused, match="3 inputs are more than 2; send them in parts"):
        handler({"inputs": TEXTS})


def test_an_endpoint_for_embeddings_loads_no_head(tmp_path: Path, engine: Engine) -> None:
    folder = bundled(tmp_path / "bundle", EndpointSettings(task="feature-extraction"))
    load_model(folder, with_qa_head=False).save_pretrained(folder)
    handler = EndpointHandler(str(folder))
    np.testing.assert_allclose(
        _numbers(handler, {"inputs": TEXTS}),
        _vectors(engine, TEXTS, EmbeddingParameters()),
        atol=1e-6,
    )
    with pytest.raises(
        Refused, match=r"^inputs: a question and its context, but this endpoint only embeds; send a text"
    ):
        handler({"inputs": WHERE})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "inputs: field required"),
        ([], "the body: input should be an object with fields"),
        ("text", "the body: input should be an object with fields"),
        (None, "the body: input should be an object with fields"),
        ({"inputs": None}, "inputs: input should be a valid string"),
        ({"inputs": 3}, "inputs: input should be a valid string"),
        ({"inputs": ["a", 3]}, "inputs.1: input should be a valid string"),
        ({"inputs": []}, "there are no inputs; send one at least"),
        ({"inputs": ""}, "the text of input 0 is empty; leave the input out"),
        ({"inputs": [" "]}, "the text of input 0 is empty; leave the input out"),
        ({"inputs": {}}, "inputs.question: field required; inputs.context: field required"),
        ({"inputs": {"question": "Who?"}}, "inputs.context: field required"),
        ({"inputs": {"question": "Who?", "context": ""}}, "the text of input 0 is empty; leave the input out"),
        ({"inputs": {"question": "", "context": "Ada"}}, "the question of input 0 is empty; leave the input out"),
        ({"inputs": [WHERE, {"question": 1, "context": "Ada"}]}, "inputs.1.question: input should be a valid string"),
        ({"inputs": WHERE | {"text": "x"}}, "inputs.text: there is no such field here"),
        ({"inputs": WHERE, "parameters": {"topk": 1}}, "parameters.topk: there is no such field here"),
        ({"inputs": WHERE, "parameters": {"top_k": "2"}}, "parameters.top_k: input should be a valid integer"),
        ({"inputs": WHERE, "parameters": {"top_k": 0}}, "top_k: input should be greater than or equal to 1"),
        ({"inputs": WHERE, "parameters": []}, "parameters: input should be an object with fields"),
        ({"inputs": WHERE, "parameters": {"max_seq_len": 5000}}, "qa.max_seq_len is 5000, but the model takes at most"),
        ({"inputs": WHERE, "parameters": {"doc_stride": 500}}, "qa.doc_stride is 500, but a window of"),
        ({"inputs": "text", "dimensions": 33}, "dimensions: this model gives 1 to 32, not 33; "),
        ({"inputs": "text", "prompt_name": "query"}, "prompt_name: no prompts are kept here"),
        ({"inputs": "long " * 5000, "truncate": False}, "input 0 has 15002 tokens, the model takes"),
        ({"inputs": ["a"] * 257}, "257 inputs are more than 256; send them in parts"),
        ({"inputs": "\ud800"}, "holds half of a surrogate pair; send valid Unicode"),
    ],
)
def test_what_is_wrong_is_named(handler: EndpointHandler, body: object, says: str) -> None:
    with pytest.raises((Refused, ModelError)) as wrong:
        handler(body)
    assert says in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    settings = EndpointSettings(task="feature-extraction", precision="exact", qa=QAParameters(top_k=2), max_inputs=3)
    write_settings(tmp_path, settings)
    assert read_settings(tmp_path) == settings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, ".*No such file or directory.*bundle the model again"),
        ("{", "the file: Invalid JSON"),
        ('{"task": "translation"}', "task: Input should be 'question-answering' or 'feature-extraction'"),
        ('{"task": "feature-extraction", "top_k": 1}', "top_k: Extra inputs are not permitted"),
    ],
)
def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / SETTINGS).write_text(text)
    with pytest.raises(ModelError, match=f"{SETTINGS}: {says}"):
        EndpointHandler(str(tmp_path))
