"""The page in a real browser, over outputs that the pipeline's own sinks wrote."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.view.catalog import open_catalog
from pipelines.view.server.app import build_view
from tests.actors.serving.helpers import serving
from tests.browser import PHONE, Browser, headless
from tests.pipelines.view.outputs import ANSWERS, TOWNS, Added, write_output
from tests.waiting import until

pytestmark = pytest.mark.more

EVIL = '<img src=x onerror="document.title=1">'
ROWS = [
    *TOWNS,
    {"id": EVIL, "question": EVIL, "context": f"Ada {EVIL} 🦆🦆 said \u202eevil\u202c.", "title": EVIL, "year": 1},
    *({**TOWNS[0], "id": f"more-{n:03}", "title": f"More {n}"} for n in range(120)),
]
MADE = {**ANSWERS, EVIL: ("🦆🦆", 1.9), **{f"more-{n:03}": ("London", n / 240) for n in range(120)}}
OTHERS = {**MADE, "q0": ("Ada", 0.4), "q1": (None, 0.95)}
TOKEN = pa.struct(
    [("text", pa.string()), ("id", pa.int32()), ("part", pa.string()), ("start", pa.int32()), ("end", pa.int32())]
)
WINDOW = pa.struct(
    [
        ("first", pa.int32()), ("tokens", pa.list_(TOKEN)), ("layers", pa.list_(pa.int32())), ("heads", pa.int32()),
        ("top", pa.int32()), ("targets", pa.list_(pa.int16())), ("weights", pa.list_(pa.float32())),
    ]
)  # fmt: skip
LOOKED_AT = pa.struct(
    [
        ("part", pa.string()), ("text", pa.string()), ("start", pa.int32()), ("end", pa.int32()),
        ("from_start", pa.float32()), ("from_end", pa.float32()),
    ]
)  # fmt: skip


def _window(row: Mapping[str, Any]) -> dict[str, Any]:
    tokens = [
        {"text": "[CLS]", "id": 101, "part": "special", "start": None, "end": None},
        {"text": "where", "id": 7, "part": "question", "start": 0, "end": 5},
        {"text": "ada", "id": 8, "part": "passage", "start": 0, "end": 3},
    ]
    flat = {"targets": [0, 1, 1, 2, 2, 0] * 2, "weights": [0.75, 0.25] * 6}
    return {"first": 0, "tokens": tokens, "layers": [1, 2], "heads": 1, "top": 2, **flat}


ADDED: Added = {
    "tokens": (pa.list_(TOKEN), lambda row: [{"text": "ada", "id": 8, "part": "passage", "start": 0, "end": 3}]),
    "embedding": (pa.list_(pa.float32(), 3), lambda row: [2.0, 3.0, 6.0]),
    "attention": (pa.list_(WINDOW), lambda row: [_window(row), _window(row)]),
    "attribution": (
        pa.list_(LOOKED_AT),
        lambda row: [{"part": "question", "text": "where", "start": 0, "end": 5, "from_start": 0.5, "from_end": 0.25}],
    ),
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "b").mkdir()
    shard = "corpus.shard_rows=50"
    first = write_output(folder / "first", ROWS, MADE, shard, folder=folder, added=ADDED)
    carry = "corpus.carry=[title, year, question, context]"
    second = write_output(folder / "second", ROWS, OTHERS, shard, carry, folder=folder / "b")
    with open_catalog([first, second], lambda said: None) as catalog, serving(build_view(catalog, (), ())[0]) as url:
        yield url


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with headless(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(running: Browser) -> Iterator[Browser]:
    running.open("about:blank")
    running.show_as(1280, 900)
    yield running
    assert not running.faults()


def _open(browser: Browser, url: str) -> None:
    browser.open("about:blank")
    browser.open(url)
    browser.shown("h1")


def _ids(browser: Browser) -> list[str]:
    return browser.texts("table.rows tbody th")


def _says(browser: Browser, text: str) -> None:
    until(lambda: text in browser.text(".status"))


def test_rows_are_searched_filtered_and_sorted_and_the_address_keeps_it(browser: Browser, page: str) -> None:
    _open(browser, page)
    _says(browser, "126 rows")
    assert _ids(browser)[:3] == ["q0", "q1", "q3"]
    browser.write("#search", "more 1")
    _says(browser, "31 rows fit.")
    browser.write("#least", "0.4")
    _says(browser, "20 rows fit.")
    browser.click("button[data-name=score]")
    until(lambda: _ids(browser)[0] == "more-119")
    assert browser.run("return document.querySelector('[aria-sort=descending]').textContent").startswith("score")
    assert browser.texts(".hit")[:1] == ["More 1"]
    again = browser.run("return location.href")
    _open(browser, again)
    _says(browser, "20 rows fit.")
    assert _ids(browser)[0] == "more-119"
    browser.click(".filters button.quiet:last-child")
    _says(browser, "126 rows")
    browser.write("#search", "'; DROP TABLE rows; --%")
    _says(browser, "No row fits.")


def test_conditions_on_columns_offer_their_values(browser: Browser, page: str) -> None:
    _open(browser, f"{page}/#rows?answered=false")
    _says(browser, "1 row fits.")
    assert _ids(browser) == ["q3"]
    _open(browser, page)
    _says(browser, "126 rows")
    browser.click(".filters .buttons button")
    browser.choose(".condition select", "title")
    browser.choose(".condition .field:nth-of-type(2) select", "is")
    browser.shown(".condition input").click()
    offered = "return [...document.querySelectorAll('datalist option')].map((one) => one.value)"
    until(lambda: "More 1" in browser.run(offered))
    browser.write(".condition input", "<b>Dana</b>")
    _says(browser, "1 row fits.")
    assert _ids(browser) == ["q4"]


def test_pages_are_turned(browser: Browser, page: str) -> None:
    _open(browser, page)
    _says(browser, "126 rows")
    assert len(_ids(browser)) == 50
    browser.click("[aria-label='Last page']")
    until(lambda: len(_ids(browser)) == 26)
    assert _ids(browser)[-1] == "more-119"
    assert browser.run("return document.querySelector('[aria-label=\"Next page\"]').disabled")
    browser.driver.back()
    until(lambda: _ids(browser)[0] == "q0")
    browser.choose("#page-size", "100")
    until(lambda: len(_ids(browser)) == 100)


def test_what_is_searched_for_is_never_a_pattern(browser: Browser, page: str) -> None:
    _open(browser, page)
    _says(browser, "126 rows")
    browser.write("#search", "more-01")
    _says(browser, "10 rows fit.")
    assert browser.text("tbody .hit") == "more-01"
    browser.write("#search", "2026-01-01 ^$.*+?()[]{}|/\\-")
    _says(browser, "No row fits.")
    assert not browser.all("tbody tr")


def test_what_was_typed_in_a_view_that_is_left_changes_no_other(browser: Browser, page: str) -> None:
    for view in ("rows", "quarantine", "compare"):
        _open(browser, f"{page}/#{view}")
        browser.shown("#search")
        type_and_leave = (
            "const field = document.querySelector('#search'); field.value = 'bo';"
            "field.dispatchEvent(new Event('input', { bubbles: true })); location.hash = '#figures'"
        )
        browser.run(type_and_leave)
        browser.shown(".tiles")
        time.sleep(0.5)
        assert browser.run("return location.hash") == "#figures", view


def test_an_output_that_is_none_is_the_nearest(browser: Browser, page: str) -> None:
    for number, chosen in (("-1", "first"), ("9", "second"), ("0.5", "first"), ("x", "first")):
        _open(browser, f"{page}/#figures?output={number}")
        browser.shown(".tiles")
        assert browser.text(".which [aria-current=true]") == chosen


def test_a_row_shows_its_answer_in_the_passage_and_what_the_model_looked_at(browser: Browser, page: str) -> None:
    _open(browser, page)
    _says(browser, "126 rows")
    browser.click("table.rows tbody th a")
    until(lambda: browser.seen("mark") == "London")
    assert browser.text("h1") == "Where was Ada born?"
    assert "Read from the input" in browser.text(".columns")
    until(lambda: browser.all(".attention svg, .attention canvas"))
    assert "where" in browser.text(".attribution")
    assert "of length 7.000" in browser.text("[aria-label=embedding]")
    browser.choose("#window-choice", "1")
    until(lambda: browser.all(".attention"))
    browser.click("[aria-label='Next row']")
    until(lambda: browser.seen("mark") == "Bo")
    assert "row 2 of the list" in browser.text(".pager")
    browser.click(".pager a")
    until(lambda: _ids(browser)[:1] == ["q0"])


def test_a_passage_that_cannot_be_read_leaves_the_row_as_it_is(browser: Browser, page: str) -> None:
    _open(browser, page)
    failing = "{ get: async () => { throw Object.assign(new Error('The input is gone.'), { status: values[0] }) } }"
    script = f"return await part.passageOf({failing}, {{}}, undefined)"
    texts = browser.made("view/views/row.js", script, 502)
    assert texts == {"source": "missing", "texts": {}, "why": "The input is gone"}
    assert "failed" in browser.made("view/views/row.js", script, 401)


def test_texts_of_the_input_stay_texts_and_offsets_are_code_points(browser: Browser, page: str) -> None:
    _open(browser, f"{page}/#rows?q=onerror")
    _says(browser, "1 row fits.")
    assert _ids(browser) == [EVIL]
    browser.click("table.rows tbody th a")
    until(lambda: browser.seen("mark") == "🦆🦆")
    assert browser.text("h1") == EVIL
    assert not browser.all("main img")
    assert "Spanmill view" in browser.driver.title


def test_outputs_are_compared(browser: Browser, page: str) -> None:
    _open(browser, f"{page}/#compare")
    _says(browser, "126 rows.")
    assert browser.text(".agreement .large") == "98.4%"
    browser.click("button[data-name=difference]")
    until(lambda: _ids(browser)[:2] == ["q0", "q1"])
    browser.click(".bars li:nth-child(2) button")
    _says(browser, "2 rows that fit.")
    browser.click("table.rows tbody th a")
    until(lambda: browser.all("mark"))
    assert [browser.seen(f"mark.colour-{side}") for side in (0, 1)] == ["London", "Ada"]
    browser.click(".pager a")
    _says(browser, "2 rows that fit.")


def test_quarantine_and_figures(browser: Browser, page: str) -> None:
    _open(browser, f"{page}/#quarantine")
    _says(browser, "1 row.")
    assert browser.cells("table.rows tbody tr")[0][3] == "empty_question"
    browser.click(".bars button")
    _says(browser, "1 row with the reason empty_question.")
    _open(browser, f"{page}/#figures")
    browser.shown(".tiles")
    assert browser.texts(".tiles .large")[:2] == ["126", "125"]
    assert len(browser.all(".histogram li")) == 20
    browser.click(".histogram li:last-child a")
    _says(browser, "1 row fits.")
    assert _ids(browser) == [EVIL]


def test_it_fits_a_phone_dark_colours_and_the_keyboard(browser: Browser, page: str) -> None:
    browser.show_as(*PHONE, "dark")
    for view in ("", "#compare", "#quarantine", "#figures", "#row?key=0-0-0", "#pair?first=0-0-0&second=0-0-0"):
        _open(browser, f"{page}/{view}")
        until(lambda: "…" not in browser.text(".status"))
        assert browser.too_wide() == 0, view
        assert browser.unnamed() == 0, view
        assert len(browser.all("h1")) == 1, view
    _open(browser, page)
    _says(browser, "126 rows")
    reached = []
    at = "const at = document.activeElement; return at.id || at.dataset.name || at.textContent"
    for _ in range(24):
        browser.keys("\ue004")  # Tab
        reached.append(browser.run(at))
    for one in ("search", "answered", "least", "Add a condition", "Columns", "id", "score", "q0"):
        assert one in reached, (one, reached)
    browser.keys("\ue007")  # Enter
    browser.shown(".passage")
    assert browser.run("return document.activeElement.id") == "view"


def test_keys_are_asked_for_and_kept_in_the_tab(browser: Browser, tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path)
    with (
        open_catalog([output], lambda said: None) as catalog,
        serving(build_view(catalog, (b"secret",), None)[0]) as url,
    ):
        browser.open(url)
        field = browser.shown("#key-field")
        assert "wants an API key" in browser.text("#notice")
        field.send_keys("wrong\ue007")
        until(lambda: "does not know this key" in browser.text("#notice"))
        field.send_keys("secret\ue007")
        browser.shown("h1")
        _says(browser, "5 rows")
        assert browser.run("return [localStorage.length, document.cookie]") == [0, ""]


def test_what_a_job_commits_meanwhile_is_offered(browser: Browser, tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path, shards=1)
    with open_catalog([output], lambda said: None) as catalog, serving(build_view(catalog, (), ())[0]) as url:
        _open(browser, url)
        _says(browser, "2 rows")
        assert "1 of about 3 shards" in browser.text("#shown")
        write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path)
        browser.shown("#arrived button")
        assert len(_ids(browser)) == 2
        browser.click("#arrived button")
        _says(browser, "5 rows")
        assert "complete" in browser.text("#shown")
