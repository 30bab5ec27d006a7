"""The parts of the page that `spanmill view` shows too, from data alone: what a service rarely gives, and odd texts."""

from typing import Any

import pytest

from tests.browser import Browser
from tests.waiting import until

pytestmark = pytest.mark.more

FIRST = "const place = document.createElement('div'); document.querySelector('main').replaceChildren(place);"
TOKENS = [
    {"text": "[CLS]", "id": 101, "part": "special", "start": None, "end": None},
    {"text": "Who", "id": 1, "part": "question", "start": 0, "end": 3},
    {"text": "[SEP]", "id": 102, "part": "special", "start": None, "end": None},
    {"text": "<b>", "id": 2, "part": "passage", "start": 0, "end": 3},
    {"text": "\u05e2\u05d3\u05d4", "id": 3, "part": "passage", "start": 4, "end": 7},
]


def _opened(browser: Browser, server: str) -> Browser:
    browser.open(server)
    browser.shown("h1")
    return browser


def _show(browser: Browser, module: str, call: str, *values: Any) -> None:
    """Puts the element that a call of a part gives onto the page."""
    failed = browser.made(f"parts/{module}", f"{FIRST} place.append(part.{call}); return null", *values)
    assert failed is None, failed


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("\N{DUCK}\N{DUCK} Ada <i>x</i> & 'y'", 3, 6),
        ("e\u0301te\u0301 a\u0300 Paris", 6, 14),
        ("\u05e2\u05d3\u05d4 was born in London", 0, 3),
        ("\N{MAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER} Ada", 4, 7),
        ("a\r\nb\tc  d\n", 3, 6),
    ],
)
def test_spans_are_marked_by_their_code_points(browser: Browser, server: str, text: str, start: int, end: int) -> None:
    spans = [
        {"start": start, "end": end, "score": 0.9, "rank": 0},
        {"start": None, "end": None, "score": 0.1, "rank": 1},
    ]
    _show(_opened(browser, server), "passage.js", "markedPassage(...values)", text, spans)
    assert browser.seen("mark.best") == text[start:end]
    assert browser.seen("main .passage") == text
    assert browser.text("mark .hidden") == "answer, score 0.900: "
    assert not browser.faults()


def test_spans_may_overlap(browser: Browser, server: str) -> None:
    spans = [
        {"start": 2, "end": 6, "score": 0.6, "rank": 1},
        {"start": 4, "end": 8, "score": 0.7, "rank": 0},
        {"start": 4, "end": 5, "score": 0.1, "rank": 2},
    ]
    call = "markedPassage(...values)); part.emphasise(place.firstChild, 0"
    _show(_opened(browser, server), "passage.js", call, "0123456789", spans)
    assert browser.seen("main .passage") == "0123456789"
    assert browser.seen("mark.best") == "4567"
    assert browser.seen("mark.active") == "2345"


def test_all_weights_of_a_window_without_targets(browser: Browser, server: str) -> None:
    size, heads, layers = len(TOKENS), 2, [3, 5]
    weights = [round(number / 200, 3) for number in range(len(layers) * heads * size * size)]
    window = {
        "first": 0,
        "tokens": TOKENS,
        "layers": layers,
        "heads": heads,
        "top": None,
        "targets": None,
        "weights": weights,
    }
    _show(
        _opened(browser, server), "attention.js", "attentionView(...values)", window, {"answer": {"start": 4, "end": 7}}
    )
    assert browser.texts(".tokens-column:first-of-type bdi") == [TOKENS[4]["text"]]
    assert browser.texts(".attention select option")[:2] == ["3", "5"]
    browser.run("document.querySelector('.as-table').open = true")
    until(lambda: browser.all(".as-table tbody tr"))
    last = weights[-size:]
    of_second = [row[3] for row in browser.cells(".as-table tbody tr") if row[2] == "2"]
    assert of_second == [f"{weight:.3f}" for weight in reversed(last)]
    assert len(browser.all(".thumbnails [role=option]")) == len(layers) * heads
    assert not browser.all("main b")
    assert not browser.faults()


def test_the_layer_that_was_chosen_last_is_shown_whichever_comes_first(browser: Browser, server: str) -> None:
    size, heads, layers = len(TOKENS), 1, [1, 2, 3]
    flat = {"targets": None, "top": None, "weights": [layer / 10 for layer in layers for _ in range(size * size)]}
    window = {"first": 0, "tokens": TOKENS, "layers": layers, "heads": heads, **flat}
    script = f"""
        {FIRST}
        const [whole] = values;
        const {{ tokens }} = whole;
        const of = (layer) => ({{
          ...whole, layers: [layer],
          weights: whole.weights.slice((layer - 1) * tokens.length ** 2, layer * tokens.length ** 2),
        }});
        const waiting = {{}};
        const load = ([layer]) => new Promise((done) => {{ waiting[layer] = () => done(of(layer)); }});
        place.append(part.attentionView(of(1), {{ layers: whole.layers, layer: 1, load }}));
        place.querySelector(".as-table").open = true;
        const list = place.querySelector("select");
        for (const layer of [2, 3]) {{ list.value = layer; list.dispatchEvent(new Event("change")); }}
        for (const layer of [3, 2]) {{ waiting[layer](); await new Promise((done) => setTimeout(done)); }}
        const least = place.querySelector("input[type=range]");
        least.value = "0.25";
        least.dispatchEvent(new Event("input"));
        return [...place.querySelectorAll(".as-table tbody tr")].map((row) => row.cells[3].textContent);
    """
    weights = _opened(browser, server).made("parts/attention.js", script, window)
    assert weights == ["0.300"] * size
    assert browser.text(".attention .status") == ""
    assert not browser.faults()


def test_probabilities_of_a_window(browser: Browser, server: str) -> None:
    window = {"first": 0, "tokens": TOKENS, "start": [0.5, 0, 0, 0.1, 0.4], "end": [0.25, 0, 0, 0, 0.75]}
    _show(_opened(browser, server), "probabilities.js", "probabilityView(...values)", window)
    assert browser.texts(".tokens bdi") == [TOKENS[3]["text"], TOKENS[4]["text"]]
    assert "12.5 %" in browser.text(".likeliest")
    labels = "return [...document.querySelectorAll('.tokens [role=option]')].map((one) => one.ariaLabel)"
    assert browser.run(labels) == ["<b>: start 0.10, end 0.00", f"{TOKENS[4]['text']}: start 0.40, end 0.75"]
    assert not browser.faults()


@pytest.mark.parametrize("listed", [None, []])
def test_without_an_answer_nothing_was_attended_to(browser: Browser, server: str, listed: object) -> None:
    _show(_opened(browser, server), "attribution.js", "attributionView(...values)", listed)
    assert browser.text("main .attribution").startswith("There is no answer here")
