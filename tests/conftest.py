"""What the tests of both packages share."""

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

RAY_MODULES = frozenset(
    f"test_{name}.py"
    for name in (
        "bad_files",
        "chaos",
        "cluster",
        "demo",
        "deploy",
        "estimate",
        "evaluate",
        "execute",
        "faulty_job",
        "finetune",
        "metrics",
        "isolation",
        "resume",
        "run",
        "running_cluster",
        "serving",
    )
)
"""Modules that start a Ray cluster. `pytest -n` runs them on one worker: a cluster takes some seconds to start, a
gigabyte and every core, so there is never more than one."""


class _RayTogether(LoadScopeScheduling):  # type: ignore[misc]
    """Tests are shared out one by one, but those that start Ray are one piece, and the first.

    xdist's own way, `--dist loadgroup`, groups nothing under pytest 9.2 (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0].rpartition("/")[2]
        return "ray" if module in RAY_MODULES else nodeid


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in RAY_MODULES:
            item.add_marker(pytest.mark.ray)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _RayTogether(config, log)


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The untrained DistilBERT of models/make_untrained.py, in a folder of this session (of each xdist worker)."""
    from transformers.utils import logging

    from models.make_untrained import HERE, make_model, make_tokenizer, make_vocabulary, read_texts

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    folder = tmp_path_factory.mktemp("model") / "untrained"
    vocabulary = make_vocabulary(read_texts(HERE.parent / "samples" / "corpus.jsonl"))
    make_model(len(vocabulary)).save_pretrained(folder)
    make_tokenizer(vocabulary).save_pretrained(folder)
    return folder
