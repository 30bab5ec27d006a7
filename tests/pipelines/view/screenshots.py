"""Takes the pictures of docs/view.md: `python -m tests.pipelines.view.screenshots answers/ short-answers/ docs/images`.

The outputs are two jobs over one corpus, which the pictures name by their folders:

    spanmill answer samples/corpus.parquet answers/ --set 'corpus.carry=[title, question, context]' \
        --set qa.handle_impossible_answer=true
    spanmill answer samples/corpus.parquet short-answers/ --set 'corpus.carry=[title]' --set qa.max_answer_len=4
"""

import sys
import tempfile
from pathlib import Path

from pipelines.view.catalog import open_catalog
from pipelines.view.job_output import open_output
from pipelines.view.server.app import build_view
from tests.actors.serving.helpers import serving
from tests.browser import Browser, headless
from tests.pictures import take
from tests.waiting import until

SCREEN = (1200, 800)
PICTURES = {
    "view.png": "#rows?q=light&sort=score&descending=true&least=0.5",
    "view-compare.png": "#compare?sort=difference&descending=true",
}


def main(output: str, other: str, folder: Path) -> None:
    """Writes the pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = [open_output(url, {}, {}) for url in (output, other)]
    with (
        open_catalog(outputs, print) as catalog,
        serving(build_view(catalog, (), ())[0]) as url,
        tempfile.TemporaryDirectory() as profile,
        headless(Path(profile)) as browser,
    ):
        browser.show_as(*SCREEN)
        for name, address in PICTURES.items():
            browser.open("about:blank")
            browser.open(f"{url}/{address}")
            until(lambda: _is_shown(browser))
            take(browser, 0, *SCREEN, folder / name)


def _is_shown(browser: Browser) -> bool:
    said = browser.text(".status")
    return "row" in said and "…" not in said and bool(browser.all("table.rows tbody tr"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
