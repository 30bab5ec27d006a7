"""Outputs are opened with the options that a config has for them."""

from pathlib import Path

from pipelines.config.loader import load_config
from pipelines.config.view import ViewConfig
from pipelines.view.opening import open_page, outputs_of
from tests.pipelines.view.outputs import ANSWERS, TOWNS, write_output


def test_each_store_has_its_own_options(tmp_path: Path) -> None:
    write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path)
    place = str(tmp_path / "out")
    words = ["output.storage={auto_mkdir: true}", "corpus.storage={use_listings_cache: false}"]
    first, second = outputs_of(place, place, load_config(ViewConfig, None, words))
    assert first.store.options == second.store.options == {"auto_mkdir": True}
    assert first.input_storage == second.input_storage == {"use_listings_cache": False}
    _, other = outputs_of(place, place, load_config(ViewConfig, None, [*words, "other.storage={}"]))
    assert other.store.options == {}
    assert len(outputs_of(place, None, ViewConfig())) == 1


def test_the_port_is_free_again_at_the_end(tmp_path: Path) -> None:
    write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path)
    outputs = outputs_of(str(tmp_path / "out"), None, ViewConfig())
    with open_page(outputs, "127.0.0.1", None, (), lambda said: None) as page:
        port = int(page.url.rpartition(":")[2])
    with open_page(outputs, "127.0.0.1", port, (), lambda said: None) as page:
        assert page.url == f"http://127.0.0.1:{port}"
