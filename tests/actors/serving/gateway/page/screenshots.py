"""Takes the pictures of docs/page.md: `python -m tests.actors.serving.gateway.page.screenshots docs/images`."""

import json
import sys
import tempfile
from pathlib import Path

from actors.model_actor import ModelActor
from actors.models.hub import find_model
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters, SharingParameters
from actors.serving.gateway.app import build_app
from actors.serving.gateway.context import Context
from actors.serving.key_parameters import KeyParameters
from actors.serving.model_card import describe
from actors.serving.parameters import CorsParameters, LimitParameters
from actors.serving.replica.replica import Replica
from tests.actors.serving.helpers import NAME, InProcess, serving
from tests.browser import Browser, headless
from tests.pictures import take_between
from tests.waiting import until

SCREEN = (1180, 900)
CORPUS = Path(__file__).parents[5] / "samples" / "corpus.jsonl"
HALF = 6
QUESTION = "Who built the light at Merrow Head?"


def main(folder: Path) -> None:
    """Writes the pictures into a folder."""
    model = ModelParameters(name=NAME, device="cpu")
    actor = ModelActor(model, BatchingParameters(), with_qa_head=True, sharing=SharingParameters())
    replica = Replica(actor, describe(find_model(model), model))
    context = Context(
        client=InProcess(replica),
        limits=LimitParameters(),
        qa=QAParameters(),
        embedding=EmbeddingParameters(),
        model=NAME,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with (
        serving(build_app(context, KeyParameters(none=True), CorsParameters())) as url,
        tempfile.TemporaryDirectory() as profile,
        headless(Path(profile)) as browser,
    ):
        _answers(browser, url, folder / "page-answers.png")
        _attention(browser, folder / "page-attention.png")
        _windows(browser, folder / "page-windows.png")


def _answers(browser: Browser, url: str, file: Path) -> None:
    browser.show_as(*SCREEN)
    browser.open(url)
    browser.click("main button[type=submit]")
    browser.shown("[role=tabpanel] .tokens")
    take_between(browser, "body > header", ".columns", SCREEN[0], file)


def _attention(browser: Browser, file: Path) -> None:
    browser.show_as(*SCREEN, "dark")
    browser.click("#tab-attention")
    browser.click(".all-place button")
    browser.shown(".thumbnails")
    browser.choose(".attention select", "4")
    browser.run("document.querySelector('.tokens-column [tabindex=\"0\"]').focus()")
    take_between(browser, ".inside", ".inside .attention", SCREEN[0], file)


def _windows(browser: Browser, file: Path) -> None:
    rows = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    passages = list(dict.fromkeys(row["context"] for row in rows if isinstance(row.get("context"), str)))
    browser.show_as(*SCREEN)
    browser.write("#passage", "\n\n".join(passages[1:HALF] + passages[:1] + passages[HALF : 2 * HALF]))
    browser.write("#questions", QUESTION)
    browser.run("document.querySelector('.inside').hidden = true")
    browser.click("main button[type=submit]")
    until(lambda: browser.text(".question h3").endswith(QUESTION))
    browser.shown(".windows select")
    browser.click("#tab-probabilities")
    browser.shown("[role=tabpanel] .tokens")
    until(lambda: not browser.text(".inside > .status"))
    take_between(browser, ".inside", ".inside .tokens", SCREEN[0], file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
