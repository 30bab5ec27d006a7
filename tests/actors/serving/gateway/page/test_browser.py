"""The pages in a real browser: the forms, keys, refusals, and the requests to copy."""

import json
import sys
from dataclasses import replace
from typing import Any

import pytest

from actors.serving.gateway.context import Context
from actors.serving.key_parameters import KeyParameters
from actors.serving.replica.replica import Replica
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import InProcess
from tests.browser import PHONE, Browser
from tests.waiting import until

pytestmark = pytest.mark.more

HARD = '🦆 it\'s "quoted" \\ $HOME `x` <b>Ada</b> Lovelace was born in London in 1815.\nShe wrote the first program.'


def _by_curl(browser: Browser) -> Any:
    return json.loads(browser.command("#code [data-code=curl] code", lambda code: ["bash", "-c", code]))


def _by_python(browser: Browser) -> str:
    return browser.command("#code [data-code=Python] code", lambda code: [sys.executable, "-c", code])


def test_a_question_is_answered_and_its_request_can_be_copied(browser: Browser, server: str) -> None:
    browser.open(server)
    browser.shown("h1")
    browser.write("#passage", HARD)
    browser.write("#questions", "Where was Ada Lovelace born?\n\nHow many goats live on the moon?\n")
    browser.write("#top-k", "2")
    browser.shown("#abstain").click()
    browser.shown("form button[type=submit]").click()
    browser.shown("mark")
    assert browser.text("#marked mark.best").endswith("London1")
    assert browser.run("return document.querySelectorAll('.question').length") == 2
    assert browser.text(".question:nth-of-type(2) .candidates strong") == "No answer in this passage"
    assert "answered in" in browser.text(".status")

    by_curl = _by_curl(browser)
    by_python = _by_python(browser)
    assert [one["answer"] for row in by_curl["answers"] for one in row[:1]] == ["London", None]
    assert "'answer': 'London'" in by_python
    assert not browser.faults()


def test_it_fits_a_phone_and_the_keyboard(browser: Browser, server: str) -> None:
    browser.show_as(*PHONE)
    browser.open(server)
    browser.shown("h1")
    assert browser.too_wide() == 0
    reached = []
    for _ in range(9):
        browser.driver.switch_to.active_element.send_keys("\ue004")  # Tab
        reached.append(browser.run("const at = document.activeElement; return at.id || at.textContent"))
    assert reached[-5:] == ["passage", "questions", "top-k", "abstain", "Find answers"]
    browser.driver.switch_to.active_element.send_keys("\ue007")  # Enter
    browser.shown("mark")
    assert browser.too_wide() == 0
    assert browser.unnamed() == 0
    assert not browser.faults()


def test_with_keys_it_asks_for_one_and_keeps_it_in_the_tab(
    browser: Browser, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPANMILL_TEST_KEYS", "first,second")
    url = serve(keys=KeyParameters(variable="SPANMILL_TEST_KEYS"))
    browser.open(url)
    field = browser.shown("#key-field")
    assert "wants an API key" in browser.text("#notice")
    field.send_keys("wrong\ue007")
    until(lambda: "does not know this API key" in browser.text("#notice"))
    field.send_keys("second\ue007")
    browser.shown("h1")
    browser.shown("main button[type=submit]").click()
    browser.shown("mark")
    assert "second" not in browser.text("body")
    assert _by_curl(browser)["answers"][0][0]["answer"] == "London"
    assert browser.run("return [localStorage.length, document.cookie, sessionStorage.length]") == [0, "", 1]


def test_what_is_refused_is_said_in_a_sentence(browser: Browser, server: str) -> None:
    browser.open(server)
    browser.shown("h1")
    browser.write("#questions", "Why?\n" * 300)
    browser.shown("main button[type=submit]").click()
    browser.shown(".status.refused")
    assert browser.text(".status") == "300 inputs are more than 256; send them in parts."


def test_texts_are_compared(browser: Browser, server: str) -> None:
    browser.open(f"{server}/#similarity")
    browser.shown("#source")
    browser.shown("main button[type=submit]").click()
    browser.shown(".similar li")
    assert "born in London" in browser.text(".similar li:first-child")
    scores = _by_curl(browser)
    assert f"{max(scores):.3f}" in browser.text(".similar li:first-child")
    assert not browser.faults()


def test_the_routes_can_be_tried_with_a_key(browser: Browser, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANMILL_TEST_KEYS", "first,second")
    browser.open(f"{serve(keys=KeyParameters(variable='SPANMILL_TEST_KEYS'))}/docs")
    browser.shown("button.authorize").click()
    browser.shown(".auth-container input").send_keys("second")
    browser.shown(".auth-btn-wrapper button.authorize").click()
    browser.shown(".btn-done").click()
    route = "#operations-Spanmill-answer_answer_post"
    browser.shown(f"{route} .opblock-summary-control").click()
    browser.shown(f"{route} .execute").click()
    browser.shown(f"{route} .live-responses-table")
    assert "London" in browser.text(f"{route} .live-responses-table")
    assert not browser.faults()


def test_one_of_several_models_is_chosen(browser: Browser, context: Context, replica: Replica, serve: Serve) -> None:
    plain = Replica(replica.actor, replace(replica.card, name="texts/plain", answers=False))
    browser.open(serve(others=(replace(context, client=InProcess(plain), model="texts/plain"),)))
    browser.shown("#passage")
    assert browser.run("return [...document.querySelectorAll('#model option')].map((one) => one.value)") == [
        "minilm-qa",
        "texts/plain",
    ]
    browser.choose("#model-choice", "texts/plain")
    browser.shown("#source")
    assert "texts/plain embeds texts; it has no QA head" in browser.text("#served")
    assert browser.texts("#views a") == ["Compare texts"]
    browser.shown("main button[type=submit]").click()
    browser.shown(".similar li")
    assert "/models/texts/plain/" in browser.text("#code [data-code=curl] code")
    assert max(_by_curl(browser)) > 0
    assert not browser.faults()
