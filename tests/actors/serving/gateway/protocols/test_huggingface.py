from typing import Any

import httpx2
import numpy as np
import pyarrow as pa
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from actors.arrays import Floats
from actors.parameters import EmbeddingParameters, QAParameters
from actors.serving.replica.replica import Replica
from actors.tokenization.preprocess import prepare_pairs, prepare_texts
from tests.actors.helpers import Answer, answers_of
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import LOVELACE, NAME, WHERE

PAIR = {"question": WHERE, "context": LOVELACE}
UNANSWERED = {"question": "How many goats live on the moon?", "context": LOVELACE}
TEXTS = ["Ada Lovelace was born in London.", "Der Rhein fließt nach Norden.", "Ada " * 900]
ANSWERING = ("/", "/models/minilm-qa", "/models/models/minilm-qa", "/pipeline/question-answering")


def _answers(replica: Replica, pairs: list[dict[str, str]], qa: QAParameters) -> list[list[Answer]]:
    engine = replica.actor.engine
    questions, contexts = pa.array([p["question"] for p in pairs]), pa.array([p["context"] for p in pairs])
    answers = engine.answer(prepare_pairs(engine.spec, qa, questions, contexts)[0], qa).answers
    assert answers is not None
    return answers_of(answers)


def _embeddings(replica: Replica, texts: list[str], embedding: EmbeddingParameters) -> Floats:
    engine = replica.actor.engine
    embeddings = engine.embed(prepare_texts(engine.spec, embedding, pa.array(texts))[0], embedding).embeddings
    assert embeddings is not None
    return embeddings


def _same(got: dict[str, Any], expected: Answer) -> bool:
    place = (got["answer"], got["start"], got["end"])
    if expected.text is None:
        return place == ("", 0, 0) and abs(got["score"] - expected.score) < 1e-4
    return place == (expected.text, expected.start, expected.end) and abs(got["score"] - expected.score) < 1e-4


def post(server: str, path: str, body: Any) -> tuple[int, Any]:
    reply = httpx2.post(f"{server}{path}", json=body)
    return reply.status_code, reply.json()


@pytest.mark.parametrize("path", ["", "/", "/models/minilm-qa", "/models/models/minilm-qa/pipeline/question-answering"])
def test_the_client_gets_the_engines_answer(server: str, replica: Replica, path: str) -> None:
    found: Any = InferenceClient(base_url=f"{server}{path}").question_answering(question=WHERE, context=LOVELACE)
    ((expected,),) = _answers(replica, [PAIR], QAParameters())
    assert _same(found, expected)
    assert found.answer == LOVELACE[found.start : found.end] == "London"


def test_the_client_may_say_how(server: str, replica: Replica) -> None:
    given: dict[str, Any] = {
        "max_seq_len": 24,
        "doc_stride": 4,
        "max_question_len": 6,
        "max_answer_len": 3,
        "align_to_words": False,
    }
    context = f"{LOVELACE} " * 5
    found: Any = InferenceClient(base_url=server).question_answering(
        question=WHERE, context=context, top_k=4, handle_impossible_answer=True, **given
    )
    qa = QAParameters.model_validate(given | {"top_k": 4, "handle_impossible_answer": True})
    (expected,) = _answers(replica, [{"question": WHERE, "context": context}], qa)
    assert len(found) == len(expected) == 4
    assert all(_same(mine, theirs) for mine, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("path", ["", "/models/minilm-qa", "/models/models/minilm-qa/pipeline/feature-extraction"])
def test_the_client_gets_the_engines_embeddings(server: str, replica: Replica, path: str) -> None:
    client = InferenceClient(base_url=f"{server}{path}")
    expected = _embeddings(replica, TEXTS, EmbeddingParameters())
    np.testing.assert_allclose(client.feature_extraction(TEXTS), expected, atol=1e-5)
    one = client.feature_extraction(TEXTS[0])
    assert one.shape == (384,)
    np.testing.assert_allclose(one, expected[0], atol=1e-5)


def test_the_client_may_say_how_to_embed(server: str, replica: Replica) -> None:
    client = InferenceClient(base_url=server)
    unscaled = client.feature_extraction(TEXTS[:2], normalize=False, truncation_direction="right", dimensions=384)
    np.testing.assert_allclose(
        unscaled, _embeddings(replica, TEXTS[:2], EmbeddingParameters(normalize=False)), atol=1e-4
    )
    narrow = client.feature_extraction(TEXTS[:2], dimensions=24)
    first = _embeddings(replica, TEXTS[:2], EmbeddingParameters(normalize=False))[:, :24]
    np.testing.assert_allclose(narrow, first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-4)
    cut = client.feature_extraction(TEXTS[2], truncate=True)
    # [CLS] and [SEP] take two of the 512 tokens.
    np.testing.assert_allclose(cut, client.feature_extraction("Ada " * 510), atol=1e-5)
    with pytest.raises(HfHubHTTPError, match="input 0 has 902 tokens, the model takes 512"):
        client.feature_extraction(TEXTS[2], truncate=False)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prompt_name": "query"}, "prompt_name: no prompts are kept here"),
        ({"truncation_direction": "left"}, "truncation_direction: texts are cut on the right alone"),
        ({"dimensions": 385}, f"dimensions: {NAME} gives 1 to 384, not 385"),
        ({"encoding_format": "base64"}, "encoding_format: the answer is numbers"),
    ],
)
def test_what_cannot_be_done_is_refused_wherever_it_stands(server: str, given: Any, said: str) -> None:
    with pytest.raises(HfHubHTTPError, match=said):
        InferenceClient(base_url=server).feature_extraction("Ada", **given)
    status, told = post(server, "/", {"inputs": "Ada", "parameters": given})
    assert (status, told["reason"]) == (422, "unsupported")
    assert said in told["error"]


def test_parameters_may_stand_in_either_place(server: str, replica: Replica) -> None:
    expected = _embeddings(replica, TEXTS[:1], EmbeddingParameters(normalize=False))
    for body in (
        {"normalize": False},
        {"parameters": {"normalize": False}},
        {"parameters": {"normalize": True}, "normalize": False},
        {"parameters": {"normalize": False}, "normalize": None},
    ):
        status, found = post(server, "/", {"inputs": TEXTS[:1]} | body)
        assert status == 200
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("path", ANSWERING)
def test_lists_give_lists(server: str, replica: Replica, path: str) -> None:
    expected = _answers(replica, [PAIR, UNANSWERED], QAParameters())
    status, found = post(server, path, {"inputs": [PAIR, UNANSWERED]})
    assert status == 200
    assert all(_same(mine, theirs) for mine, (theirs,) in zip(found, expected, strict=True))
    assert post(server, path, {"inputs": [PAIR]}) == (200, [post(server, path, {"inputs": PAIR})[1]])
    _, several = post(server, path, {"inputs": [PAIR, PAIR], "parameters": {"top_k": 2}})
    assert [len(answers) for answers in several] == [2, 2]


def test_abstaining_is_an_empty_answer_as_in_transformers(server: str) -> None:
    _, found = post(server, "/", {"inputs": UNANSWERED, "parameters": {"handle_impossible_answer": True}})
    assert (found["answer"], found["start"], found["end"]) == ("", 0, 0)
    assert 0 < found["score"] <= 1


def test_options_of_the_hosted_service_are_taken(server: str) -> None:
    options = {"options": {"wait_for_model": True, "use_cache": False}}
    assert post(server, "/", {"inputs": PAIR} | options)[0] == 200
    assert post(server, "/", {"inputs": "Ada"} | options)[0] == 200
    status, told = post(server, "/", {"inputs": "Ada", "options": {"use_gpu": True}})
    assert (status, told["error"]) == (422, "options.use_gpu: there is no such field here")


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/", {"inputs": PAIR, "parameters": {"normalize": True}}, "parameters.normalize: there is no such field here"),
        ("/", {"inputs": "Ada", "parameters": {"top_k": 2}}, "parameters.top_k: there is no such field here"),
        ("/", {"inputs": PAIR, "parameters": {"null_score": True}}, "parameters.null_score: there is no such field"),
        ("/", {"inputs": {"question": WHERE}}, "inputs.context: field required"),
        ("/", {"inputs": [PAIR, "Ada"]}, "inputs.1: input should be an object with fields"),
        ("/", {"inputs": ["Ada", PAIR]}, "inputs.1: input should be a valid string"),
        ("/", {"inputs": 7}, "inputs: input should be a valid string"),
        ("/", {"inputs": []}, "there are no inputs; send one at least"),
        ("/", {"question": WHERE, "context": LOVELACE}, "inputs: field required"),
        ("/pipeline/question-answering", {"inputs": "Ada"}, "inputs: input should be an object with fields"),
        ("/pipeline/feature-extraction", {"inputs": PAIR}, "inputs: input should be a valid string"),
    ],
)
def test_what_is_wrong_is_named(server: str, path: str, body: Any, said: str) -> None:
    status, told = post(server, path, body)
    assert (status, set(told)) == (422, {"error", "reason"})
    assert said in told["error"]


def test_the_client_shows_what_is_wrong(server: str) -> None:
    client = InferenceClient(base_url=f"{server}/models/other/model")
    with pytest.raises(HfHubHTTPError, match="there is no model 'other/model' here; ask for 'minilm-qa'"):
        client.question_answering(question=WHERE, context=LOVELACE)
    with pytest.raises(HfHubHTTPError, match="the question of input 0 is empty"):
        InferenceClient(base_url=server).question_answering(question="", context=LOVELACE)


@pytest.mark.parametrize("path", ["", "/models/minilm-qa", "/pipeline/sentence-similarity"])
def test_the_client_compares_sentences(server: str, replica: Replica, path: str) -> None:
    client = InferenceClient(base_url=f"{server}{path}")
    found = client.sentence_similarity(TEXTS[0], other_sentences=[TEXTS[0], *TEXTS[1:]])
    expected = _embeddings(replica, TEXTS, EmbeddingParameters())
    assert found[0] == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(found, expected @ expected[0], atol=1e-4)
    alone = client.sentence_similarity(TEXTS[1], other_sentences=TEXTS[:1])
    np.testing.assert_allclose(alone, [expected[1] @ expected[0]], atol=1e-4)


def test_similarity_does_not_depend_on_how_the_service_embeds(server: str, serve: Serve) -> None:
    otherwise = serve(embedding=EmbeddingParameters(normalize=False, dtype="float16"))
    body = {"inputs": {"source_sentence": TEXTS[0], "sentences": TEXTS}}
    np.testing.assert_allclose(post(otherwise, "/", body)[1], post(server, "/", body)[1], atol=1e-4)


@pytest.mark.parametrize(
    ("inputs", "parameters", "status", "said"),
    [
        ({"source_sentence": "Ada", "sentences": []}, {}, 422, "there are no inputs"),
        ({"source_sentence": "Ada", "sentences": ["x"] * 256}, {}, 413, "257 inputs are more than 256"),
        ({"source_sentence": " ", "sentences": ["x"]}, {}, 422, "the text of input 0 is empty"),
        ({"source_sentence": "Ada", "sentences": ["x", ""]}, {}, 422, "the text of input 2 is empty"),
        ({"source_sentence": "Ada", "sentences": "x"}, {}, 422, "inputs.sentences: input should be a valid list"),
        ({"source_sentence": "Ada"}, {}, 422, "inputs.sentences: field required"),
        ({"sentences": ["x"]}, {}, 422, "inputs.source_sentence: field required"),
        ({"source_sentence": "Ada", "sentences": [TEXTS[2]]}, {"truncate": False}, 413, "input 1 has 902 tokens"),
    ],
)
def test_what_cannot_be_compared_is_named(server: str, inputs: Any, parameters: Any, status: int, said: str) -> None:
    got, told = post(server, "/", {"inputs": inputs, "parameters": parameters})
    assert got == status
    assert said in told["error"]
