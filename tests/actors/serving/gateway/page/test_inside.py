"""How the model read a passage, as the page shows it in a real browser: all numbers are those that a client gets."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx2
import numpy as np
import pytest

from actors.serving.key_parameters import KeyParameters
from actors.serving.replica.replica import Replica
from actors.serving.types import ModelCard
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import LOVELACE, WHERE, InProcess
from tests.browser import PHONE, Browser
from tests.waiting import until

pytestmark = pytest.mark.more

DESKTOP = (1280, 900)
RIGHT, LEFT, DOWN, HOME, END, TAB, ENTER, ESCAPE = (
    "\ue014",
    "\ue012",
    "\ue015",
    "\ue011",
    "\ue010",
    "\ue004",
    "\ue007",
    "\ue00c",
)
FILLER = "The mill stands by the river and has four stones, of which two grind wheat and two grind rye for the town. "
LONG = FILLER * 25 + LOVELACE + " " + FILLER * 25
HOSTILE = (
    '\N{DUCK} <b>Ada</b> & "Love\u0301lace" \N{RIGHT-TO-LEFT MARK}\u05e2\u05d3\u05d4 was born in London '
    "\N{MAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER} in 1815.\n<script>alert(1)</script>"
)
CONTRAST = """
const linear = (part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
const parsed = (text) => {
  const numbers = text.match(/[\\d.]+/g).map(Number);
  const scale = text.startsWith('color(srgb') ? 1 : 255;
  return { rgb: numbers.slice(0, 3).map((one) => one / scale), alpha: numbers[3] ?? 1 };
};
const over = (top, below) => top.rgb.map((one, part) => one * top.alpha + below[part] * (1 - top.alpha));
const ground = (at) => {
  if (!at) return [1, 1, 1];
  const own = parsed(getComputedStyle(at).backgroundColor);
  return own.alpha === 1 ? own.rgb : over(own, ground(at.parentElement));
};
const light = (rgb) => { const [r, g, b] = rgb.map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const faint = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const at = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !at.checkVisibility() || at.closest('.hidden, :disabled, script')) continue;
  const below = ground(at);
  const [one, other] = [light(over(parsed(getComputedStyle(at).color), below)), light(below)];
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (ratio < 4.5) faint.push(`${at.tagName}.${at.className}: ${ratio.toFixed(2)} ${walker.currentNode.data}`);
}
return [...new Set(faint)];
"""
"""Texts that stand out from their ground by less than WCAG's 4.5 to 1."""


def _open(browser: Browser, url: str, passage: str = LOVELACE, questions: str = WHERE) -> None:
    """Opens the page, asks, and waits for the answers and for what is shown first of the inside."""
    browser.open(url)
    browser.shown("#passage")
    _ask(browser, passage, questions)


def _ask(browser: Browser, passage: str, questions: str) -> None:
    browser.write("#passage", passage)
    browser.write("#questions", questions)
    browser.click("main button[type=submit]")
    browser.shown("[role=tabpanel] .tokens")


def _attention(browser: Browser) -> None:
    browser.click("#tab-attention")
    browser.shown(".head-view")


def _reply(url: str, passage: str, **parameters: object) -> Any:
    body = {"context": passage, "question": WHERE, "parameters": parameters}
    reply = httpx2.post(f"{url}/answer", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def _rows(browser: Browser, panel: str) -> list[list[str]]:
    """The cells of a panel's table, once it is unfolded."""
    browser.run("document.querySelector(arguments[0]).open = true", f"{panel} .as-table")
    until(lambda: browser.all(f"{panel} .as-table tbody tr"))
    return browser.cells(f"{panel} .as-table tbody tr")


def _focused(browser: Browser) -> str:
    return str(browser.run("return document.activeElement.ariaLabel ?? document.activeElement.textContent"))


def test_candidates_are_marked_where_one_points_at_them(browser: Browser, server: str) -> None:
    _open(browser, server, questions=f"{WHERE}\nWho was born?")
    found = browser.texts(".question:nth-of-type(1) .candidates strong")
    assert len(found) == 5
    assert found[0] == "London"
    assert [text[-7:] for text in browser.texts("#marked mark.best")] == ["velace2", "London1"]
    buttons = browser.all(".question:nth-of-type(1) .answer")
    browser.run("arguments[0].focus()", buttons[1])
    assert browser.seen("mark.active") == found[1]
    browser.run("arguments[0].click()", buttons[1])
    assert buttons[1].get_attribute("aria-pressed") == "true"
    assert buttons[0].get_attribute("aria-pressed") == "false"
    # What was chosen is what the model's reading is shown of.
    until(lambda: "".join(browser.texts(".tokens .in-answer")) == found[1].replace(" ", ""))
    assert not browser.faults()


def test_start_and_end_probabilities_are_those_of_the_service(browser: Browser, server: str) -> None:
    _open(browser, server)
    (window,) = _reply(server, LOVELACE, probabilities=True)["windows"][0]
    passage = [place for place, token in enumerate(window["tokens"]) if token["part"] == "passage"]
    expected = [
        [window["tokens"][place]["text"], f"{window['start'][place]:.4f}", f"{window['end'][place]:.4f}"]
        for place in passage
    ]
    rows = _rows(browser, ".probabilities")
    assert [row[0] for row in rows] == [row[0] for row in expected]
    numbers, wanted = ([[float(cell) for cell in row[1:]] for row in some] for some in (rows, expected))
    assert all(one == pytest.approx(other, abs=2e-4) for one, other in zip(numbers, wanted, strict=True))
    assert browser.texts(".tokens .in-answer") == ["London"]
    assert browser.text(".likeliest dd").startswith("London 0.")
    assert "No answer in this window" in browser.text(".likeliest")
    by_curl = json.loads(browser.command("#inside-code [data-code=curl] code", lambda code: ["bash", "-c", code]))
    assert by_curl["windows"][0][0]["tokens"] == window["tokens"]
    assert not browser.faults()


def test_the_tokens_are_one_stop_of_the_tab_key_and_arrows_move_among_them(browser: Browser, server: str) -> None:
    _open(browser, server)
    assert browser.run("return document.querySelectorAll('.tokens [tabindex=\"0\"]').length") == 1
    browser.run("document.querySelector('.tokens [tabindex=\"0\"]').focus()")
    assert _focused(browser).startswith("London: start 0.")
    browser.keys(RIGHT)
    assert _focused(browser).startswith("in: start")
    assert "in starts the answer with" in browser.text(".probabilities .readout")
    browser.keys(HOME)
    assert _focused(browser).startswith("Ada: start")
    browser.keys(END)
    assert _focused(browser).startswith(".: start")
    browser.keys(TAB)
    assert _focused(browser) == "As a table"
    browser.run("document.querySelector('#tab-probabilities').focus()")
    browser.keys(RIGHT)
    browser.shown(".head-view")
    assert _focused(browser) == "Attention"
    with_alt = "new KeyboardEvent('keydown', { key: 'ArrowLeft', altKey: true, bubbles: true, cancelable: true })"
    assert browser.run(f"return document.activeElement.dispatchEvent({with_alt})")
    assert _focused(browser) == "Attention"
    browser.keys(END)
    browser.shown(".attribution table")
    assert not browser.faults()


def test_the_windows_of_a_long_passage(browser: Browser, server: str) -> None:
    _open(browser, server, LONG)
    windows = _reply(server, LONG, probabilities=True)["windows"][0]
    options = browser.texts(".windows option")
    assert len(options) == len(windows) > 3
    (own,) = [option for option in options if "here is the answer" in option]
    assert browser.run("return document.querySelector('.windows select').selectedOptions[0].textContent") == own
    first, last = (int(number.replace(",", "")) for number in re.findall(r"[\d,]+(?=–|, here)", own))
    assert first < LONG.index("London") < last
    assert "".join(browser.texts(".tokens .in-answer")) == "London"
    assert browser.run("return document.querySelectorAll('*').length") < 2500
    for _ in range(len(windows)):
        browser.run("document.querySelector('.windows button').click()")
    until(lambda: browser.texts(".tokens [role=option]")[:2] == ["The", "mill"])
    assert browser.run("return document.querySelector('.windows button').disabled")
    assert not browser.all(".tokens .in-answer")
    assert not browser.faults()


def test_the_attention_of_a_window_is_that_of_the_whole_passage(browser: Browser, server: str) -> None:
    _open(browser, server, LONG)
    _attention(browser)
    asked = json.loads(_json_of(browser.text("#inside-code [data-code=curl] code")))
    assert asked["parameters"]["attention"] == {"layers": [6], "top": 8}
    (own,) = [place for place, name in enumerate(browser.texts(".windows option")) if "here is the answer" in name]
    window = _reply(server, LONG, columns=["attention"], attention={"layers": [6], "top": 8})["columns"][0][
        "attention"
    ][own]
    assert _rows(browser, ".attention") == _expected(window, ["London"], list(range(12)), 0.05)
    assert not browser.faults()


def _json_of(curl: str) -> str:
    return curl[curl.index("-d '") + 4 : -1]


def _expected(
    window: dict[str, Any], texts: Sequence[str], heads: Sequence[int], least: float, layer: int = 0
) -> list[list[str]]:
    """The rows of the table: from, to, head, weight, heaviest first."""
    tokens, top = window["tokens"], window["top"]
    found = []
    for head in heads:
        for place, token in enumerate(tokens):
            if token["part"] == "passage" and token["text"] in texts:
                first = ((layer * window["heads"] + head) * len(tokens) + place) * top
                for nth in range(first, first + top):
                    to, weight = tokens[window["targets"][nth]], window["weights"][nth]
                    if weight >= least:
                        found.append(
                            (weight, [token["text"], f"{to['text']} ({to['part']})", str(head + 1), f"{weight:.3f}"])
                        )
    found.sort(key=lambda one: -one[0])
    return [row for _, row in found]


def test_attention_by_layer_and_head(browser: Browser, server: str) -> None:
    _open(browser, server)
    _attention(browser)
    assert browser.texts(".tokens-column:first-of-type bdi") == ["London"]
    assert browser.all(".lines path")
    browser.choose(".attention select", "2")
    until(lambda: not browser.text(".attention .status"))
    window = _reply(server, LOVELACE, columns=["attention"], attention={"layers": [2], "top": 8})["columns"][0][
        "attention"
    ][0]
    assert _rows(browser, ".attention") == _expected(window, ["London"], list(range(12)), 0.05)
    assert browser.text(".as-table caption") == "Layer 2, heaviest first"
    for button in browser.all(".heads .quiet")[1:]:
        browser.run("arguments[0].click()", button)
    assert "Choose a head" in browser.text(".attention .readout")
    assert not browser.all(".lines path")
    browser.run("arguments[0].click()", browser.all(".chip")[4])
    assert _rows(browser, ".attention") == _expected(window, ["London"], [4], 0.05)
    assert browser.all(".chip")[4].get_attribute("aria-pressed") == "true"
    browser.run(
        "arguments[0].value = '0.3'; arguments[0].dispatchEvent(new Event('input'))", browser.shown(".control input")
    )
    assert browser.cells(".attention tbody tr") == _expected(window, ["London"], [4], 0.3)
    browser.choose(".control:nth-of-type(2) select", "2")
    tokens = [token["text"] for token in window["tokens"]]
    for side in ("first", "last"):
        assert browser.texts(f".tokens-column:{side}-of-type bdi") == tokens
    assert not browser.faults()


def test_attention_of_one_token_by_keyboard(browser: Browser, server: str) -> None:
    _open(browser, server)
    _attention(browser)
    browser.run("document.querySelector('.tokens-column [tabindex=\"0\"]').focus()")
    assert _focused(browser) == "London, passage"
    heaviest, mean = _heaviest(server)
    assert browser.text(".attention .readout").startswith(f"London attends to {heaviest} {mean:.2f} · ")
    assert browser.text(".attention .readout").endswith("(mean of 12 heads)")
    assert browser.all(".picked .lines g:last-child path")
    assert browser.all(".weighed .score")
    browser.keys(RIGHT)
    focused = _focused(browser)
    assert browser.run("return document.activeElement.closest('.tokens-column').ariaLabel") == "Attention to"
    assert " is attended to by London 0." in browser.text(".attention .readout")
    browser.keys(HOME + DOWN)
    assert _focused(browser) != focused
    browser.keys(LEFT)
    assert _focused(browser) == "London, passage"
    browser.keys(ESCAPE)
    assert not browser.all(".picked")
    assert not browser.faults()


def _heaviest(server: str) -> tuple[str, float]:
    """What the answer attends to most in the last layer, and with what weight, by the mean of the heads."""
    columns = _reply(server, LOVELACE, columns=["attention"], attention={"layers": [6], "top": "all"})["columns"]
    (window,) = columns[0]["attention"]
    texts = [token["text"] for token in window["tokens"]]
    weights = np.reshape(window["weights"], (window["heads"], len(texts), len(texts)))
    means = weights[:, len(texts) - 1 - texts[::-1].index("London")].mean(axis=0)
    return texts[int(means.argmax())], float(means.max())


def test_all_layers_and_heads_at_once(browser: Browser, server: str) -> None:
    _open(browser, server)
    _attention(browser)
    browser.click(".all-place button")
    browser.shown(".thumbnails")
    assert len(browser.all(".thumbnails [role=option]")) == 72
    assert len(browser.all(".thumbnails [aria-selected=true]")) == 12
    browser.run("document.querySelector('.thumbnails [tabindex=\"0\"]').focus()")
    assert _focused(browser) == "Layer 6, head 1"
    browser.keys("\ue013" + RIGHT + ENTER)  # up
    assert _focused(browser) == "Layer 5, head 2"
    assert browser.run("return document.querySelector('.attention select').value") == "5"
    assert browser.texts(".chip[aria-pressed=true]") == ["Head 2"]
    assert not browser.faults()


def test_attribution_in_words_and_numbers(browser: Browser, server: str) -> None:
    _open(browser, server)
    browser.click("#tab-attribution")
    browser.shown(".attribution table")
    expected = _reply(server, LOVELACE, columns=["attribution"])["columns"][0]["attribution"]
    rows = browser.cells(".attribution tbody tr")
    assert rows == [
        [one["text"], one["part"], f"{one['from_start']:.2f}", f"{one['from_end']:.2f}"] for one in expected
    ]
    assert browser.text(".attribution p").startswith("Most of all the answer attended to ")
    browser.run("arguments[0].click()", browser.all(".question .answer")[1])
    until(lambda: "of the best answer alone, which is London." in browser.text("[role=tabpanel]"))
    assert browser.cells(".attribution tbody tr") == rows
    assert not browser.faults()


class _WithoutAttention(InProcess):
    """A service whose runtime gives no attention."""

    async def card(self) -> ModelCard:
        return replace(self.replica.card, columns=("tokens", "embedding", "token_vectors"))


def test_a_runtime_without_attention_is_explained(browser: Browser, serve: Serve, replica: Replica) -> None:
    _open(browser, serve(client=_WithoutAttention(replica)))
    assert browser.texts("[role=tab]") == ["Start and end"]
    assert "model.backend: torch" in browser.text(".inside")
    assert not browser.faults()


def test_behind_keys_the_inside_is_asked_for_with_the_key(
    browser: Browser, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPANMILL_TEST_KEYS", "first,second")
    browser.open(serve(keys=KeyParameters(variable="SPANMILL_TEST_KEYS")))
    browser.shown("#key-field").send_keys("second\ue007")
    browser.shown("#passage")
    _ask(browser, LOVELACE, WHERE)
    _attention(browser)
    assert "second" not in browser.text("body")
    shown = browser.command("#inside-code [data-code=curl] code", lambda code: ["bash", "-c", code])
    assert json.loads(shown)["columns"][0]["attention"][0]["layers"] == [6]


def test_a_passage_of_hostile_text_is_shown_as_it_is(browser: Browser, server: str) -> None:
    _open(browser, server, HOSTILE, "Where was Ada born?")
    answer = _reply(server, HOSTILE)["answers"][0][0]
    assert HOSTILE[answer["start"] : answer["end"]] == answer["answer"]
    assert browser.seen("#marked") == HOSTILE
    assert browser.seen("mark.best") == browser.text(".candidates strong")
    _attention(browser)
    assert (
        browser.run("return document.querySelectorAll('#marked b, #marked script, .inside b, .inside script').length")
        == 0
    )
    assert not browser.faults()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_fits_a_phone_and_can_be_read(browser: Browser, server: str, scheme: str) -> None:
    browser.show_as(*PHONE, scheme)
    _open(browser, server, LONG, f"{WHERE}\nWhat stands by the river?")
    for tab, inside in (
        ("probabilities", ".tokens"),
        ("attention", ".head-view"),
        ("attribution", ".attribution table"),
    ):
        browser.show_as(*PHONE, scheme)
        browser.click(f"#tab-{tab}")
        browser.shown(inside)
        assert browser.too_wide() == 0, tab
        assert browser.run(CONTRAST) == [], tab
        assert browser.unnamed() == 0
        browser.show_as(*DESKTOP, scheme)
        assert browser.too_wide() == 0, tab
    assert not browser.faults()
