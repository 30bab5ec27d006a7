"""The whole service under clients and a model that break in every way: only the guilty fail."""

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from actors.parameters import EmbeddingParameters, QAParameters
from actors.serving.gateway.app import build_app
from actors.serving.gateway.context import Context
from actors.serving.gateway.handle_client import HandleClient
from actors.serving.key_parameters import KeyParameters
from actors.serving.parameters import CorsParameters, LimitParameters
from tests.actors.serving.helpers import LOVELACE, NAME, WHERE, InProcess, serving
from tests.actors.serving.toys import DIES, FAILS, HANGS, NAN, NO_MEMORY, ToyReplicas
from tests.waiting import until

Json = Any
JSON = {"Content-Type": "application/json"}
BINARY = "Inference-Header-Content-Length"
REFUSALS = {400, 404, 405, 413, 415, 422}
JUNK: tuple[Json, ...] = (
    None, True, 0, -1, 10**30, 1.5, 1e308, "", " ", "a", "\ud800", "\0", "null", [], [[]], {}, {"": None}, [None],
    {"inputs": None}, ["a", None], [{}], "x" * 5000, ["x"] * 300, [[[[[[[[[[]]]]]]]]]],
)  # fmt: skip


# What clients send: every route of the document, and bodies that are broken in one place or in several.


@dataclass(frozen=True)
class Asked:
    """A request that the document gives as an example."""

    path: str
    body: Json


def _examples(document: Json) -> list[Asked]:
    found = []
    for path, operations in document["paths"].items():
        if "post" not in operations:
            continue
        asked = operations["post"]["requestBody"]["content"]["application/json"]
        schema, url = asked["schema"], path.replace("{model}", "minilm-qa")
        if "examples" in asked:
            bodies = [one["value"] for one in asked["examples"].values()]
        else:
            name = schema.get("$ref", "").rpartition("/")[2]
            bodies = schema.get("examples") or document["components"]["schemas"][name]["examples"]
        found += [Asked(url, body) for body in bodies]
    return found


def _places(body: Json, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    steps = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for step, inside in steps:
        yield from _places(inside, (*place, step))


def _with(body: Json, place: tuple[Any, ...], value: Json, remove: bool) -> Json:
    """The body with another value at a place, or without it."""
    if not place:
        return value
    changed = dict(body) if isinstance(body, dict) else list(body)
    if remove and len(place) == 1:
        del changed[place[0]]
    else:
        changed[place[0]] = _with(body[place[0]], place[1:], value, remove)
    return changed


@st.composite
def _broken(draw: st.DrawFn, examples: list[Asked]) -> tuple[str, bytes, dict[str, str]]:
    """Path, body and headers of a request."""
    asked = draw(st.sampled_from(examples))
    body = asked.body
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from(list(_places(body))))
        body = _with(body, place, draw(st.sampled_from(JUNK)), draw(st.booleans()))
        if isinstance(body, dict) and draw(st.booleans()):
            body = body | {draw(st.sampled_from(["parameters", "options", "model", "new", "dimensions", "id"])): None}
    sent = json.dumps(body).encode()
    match draw(st.integers(0, 5)):
        case 0:
            sent = sent[: draw(st.integers(0, len(sent)))]
        case 1:
            at = draw(st.integers(0, max(len(sent) - 1, 0)))
            sent = sent[:at] + draw(st.binary(max_size=3)) + sent[at + 1 :]
    headers = dict(draw(st.sampled_from([JSON, JSON, JSON, {}, {"Content-Type": "text/plain"}])))
    if draw(st.integers(0, 7)) == 0:
        headers["X-Request-Timeout-Ms"] = draw(st.sampled_from(["", "-1", "1e3", "0", "9" * 30, "60000"]))
    if "/infer" in asked.path and draw(st.booleans()):
        headers[BINARY] = draw(st.sampled_from(["0", str(len(sent)), str(len(sent) // 2), "-1", "x", "9" * 30]))
    return asked.path, sent, headers


def _check_bodies(examples: int, derandomize: bool) -> None:
    replicas = ToyReplicas()
    context = Context(
        InProcess(replicas.replica()), LimitParameters(), QAParameters(), EmbeddingParameters(), model=NAME
    )
    app = build_app(context, KeyParameters(none=True), CorsParameters())
    known = _examples(app.openapi())
    assert {asked.path for asked in known} >= {"/", "/answer", "/v1/embeddings", "/embed", "/v2/models/minilm-qa/infer"}
    with serving(app) as url, httpx2.Client(base_url=url, timeout=120) as client:

        @settings(
            max_examples=examples,
            derandomize=derandomize,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(asked=_broken(known))
        def check(asked: tuple[str, bytes, dict[str, str]]) -> None:
            path, body, headers = asked
            response = client.post(path, content=body, headers=headers)
            assert response.status_code in REFUSALS | {200, 504}, (asked, response.text)
            if response.status_code != 200:
                said = response.json()["error"]
                assert len(said["message"] if isinstance(said, dict) else said) > 10
            answer = client.post("/answer", json={"context": LOVELACE, "questions": [WHERE]})
            assert answer.status_code == 200, (asked, answer.text)

        check()


def test_whatever_is_sent_is_answered_or_refused_and_hurts_nobody_else() -> None:
    _check_bodies(150, derandomize=True)


@pytest.mark.more
def test_whatever_is_sent_is_answered_or_refused_and_hurts_nobody_else_for_long() -> None:
    _check_bodies(20_000, derandomize=False)


# What the model does: requests of the good and of the bad, side by side in the same passes.

WORDS = ("Ada", "London", "goats", "lighthouse", "program", "machine", "Brindle", "island", "keeps", "wrote")
GUILTY = {FAILS: {500}, NO_MEMORY: {413, 503}, NAN: {500}, DIES: {422}, HANGS: {200, 504}}
"""Statuses of those who bring such a word; of other protocols, too, where they have others. Without
room, a window is too large where none so long ever fitted, and else has to come again later."""
OTHER_STATUSES = {"/embed": {422: 424}, "/embed_all": {422: 424}}
_MOST_SECONDS_MORE = 240.0


def _request(rng: random.Random, word: str = "") -> Asked:
    """A good request to some route, or one with a word that breaks the model."""
    text = " ".join(
        [*rng.choices(WORDS, k=rng.choice((3, 10, 60) if word else (3, 10, 60, 700))), word, *rng.choices(WORDS, k=3)]
    )
    question = "Where is " + rng.choice(WORDS)
    texts = [text] if word else [text, *(" ".join(rng.choices(WORDS, k=5)) for _ in range(rng.randrange(3)))]
    match rng.randrange(7):
        case 0:
            return Asked("/answer", {"context": text, "questions": [question]})
        case 1:
            return Asked("/", {"inputs": {"question": question, "context": text}})
        case 2:
            return Asked("/v1/embeddings", {"model": "minilm-qa", "input": texts, "encoding_format": None})
        case 3:
            return Asked("/embed", {"inputs": texts, "truncate": True})
        case 4:
            return Asked("/pipeline/feature-extraction", {"inputs": texts, "normalize": None})
        case 5:
            short = f"{word} {rng.choice(WORDS)}"
            return Asked("/embed_all", {"inputs": [short]})
        case _:
            tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
            return Asked("/v2/models/minilm-qa/infer", {"inputs": [tensor], "parameters": None})


def _numbers(content: Json) -> list[float]:
    """All numbers of a reply, times left out."""
    if isinstance(content, dict):
        return [n for name, value in content.items() if name != "timing_ms" for n in _numbers(value)]
    if isinstance(content, list):
        return [n for value in content for n in _numbers(value)]
    return [float(content)] if isinstance(content, int | float) else []


@dataclass
class Traffic:
    """What the clients have seen so far, and how long they go on."""

    wanted: Counter[str]
    seconds: float
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()

    def goes_on(self) -> bool:
        """For so many seconds, and then until everything that is wanted was seen: a busy machine sees it later."""
        passed = self._clock() - self._began
        return passed < self.seconds or (not self.wanted <= self.seen and passed < self.seconds + _MOST_SECONDS_MORE)


async def _good(client: httpx2.AsyncClient, rng: random.Random, traffic: Traffic) -> None:
    """Asks one after another; every answer is what the same request gets again when it has the service to itself."""
    while traffic.goes_on():
        asked = _request(rng)
        response = await client.post(asked.path, json=asked.body)
        assert response.status_code == 200, (asked.path, response.text)
        again = await client.post(asked.path, json=asked.body)
        assert again.status_code == 200, (asked.path, again.text)
        np.testing.assert_allclose(_numbers(response.json()), _numbers(again.json()), atol=1e-4)
        traffic.seen["good"] += 1


async def _bad(client: httpx2.AsyncClient, rng: random.Random, traffic: Traffic) -> None:
    """Breaks the model, or hangs up."""
    while traffic.goes_on():
        # A death costs the threads of a replica, so there are fewer of them.
        word = rng.choices([*GUILTY, ""], weights=[4, 4, 4, 0.1, 1, 4])[0]
        asked = _request(rng, word)
        headers = {"X-Request-Timeout-Ms": "100"} if word == HANGS else {}
        if not word:
            call = asyncio.create_task(client.post(asked.path, json=asked.body))
            await asyncio.sleep(rng.random() / 50)
            call.cancel()
            await asyncio.wait([call])
        else:
            response = await client.post(asked.path, json=asked.body, headers=headers)
            others = OTHER_STATUSES.get(asked.path, {})
            wanted = {others.get(status, status) for status in GUILTY[word]}
            assert response.status_code in wanted, (word, asked.path, response.status_code, response.text)
        traffic.seen[word or "hung up"] += 1
        await asyncio.sleep(rng.random() / 20)


async def _run(seed: int, seconds: float, wanted: Counter[str]) -> None:
    replicas = ToyReplicas(seed)
    # Nobody is late, however busy the machine is.
    limits = LimitParameters(timeout_ms=600_000)
    context = Context(HandleClient(replicas, limits), limits, QAParameters(), EmbeddingParameters(), model=NAME)
    app = build_app(context, KeyParameters(none=True), CorsParameters())
    transport = httpx2.ASGITransport(app=app)
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://toy", timeout=600) as client:
            traffic = Traffic(wanted, seconds)
            clients = [_good(client, random.Random(1000 * seed + n), traffic) for n in range(6)]
            clients += [_bad(client, random.Random(-1000 * seed - n), traffic) for n in range(4)]
            await asyncio.gather(*clients)
            assert (await client.get("/ready")).status_code == 200
            # Whoever hung up is in hand until the thread that tokenises for it has ended.
            await asyncio.to_thread(until, lambda: replicas.replica().in_hand == 0)
    finally:
        replicas.close()
    assert replicas.deaths >= traffic.seen[DIES]
    assert wanted <= traffic.seen


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """What fails is logged with a traceback each time."""
    logging.getLogger("spanmill.requests").setLevel(logging.CRITICAL)


def test_a_model_that_breaks_breaks_the_guilty_alone() -> None:
    asyncio.run(_run(seed=1, seconds=3.0, wanted=Counter({"good": 20, FAILS: 1, NO_MEMORY: 1, NAN: 1, HANGS: 1})))


@pytest.mark.more
@pytest.mark.parametrize("seed", range(2, 12))
def test_a_model_that_breaks_breaks_the_guilty_alone_for_long(seed: int) -> None:
    asyncio.run(_run(seed, seconds=60.0, wanted=Counter({"good": 50, "hung up": 1, **dict.fromkeys(GUILTY, 1)})))
