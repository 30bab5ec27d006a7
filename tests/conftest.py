"""What the tests of both packages share."""

import os
import tempfile
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

RAY_MODULES = frozenset(
    f"test_{name}.py"
    for name in (
        "bad_files",
        "chaos",
        "demo",
        "deploy",
        "estimate",
        "command",
        "executor",
        "faulty_job",
        "finetune",
        "poison_row_search",
        "prometheus",
        "ray_cluster",
        "ray_pipeline",
        "resume",
        "running_cluster",
        "serve",
    )
)
"""Modules that start a Ray cluster, which takes some seconds, a gigabyte and, at times, every core. `pytest -n` gives
each of them to one worker as a whole, so there are never more clusters than workers."""


class _RayFirst(LoadScopeScheduling):  # type: ignore[misc]
    """Tests are shared out one by one, but those of a module that starts Ray together; these modules come first.

    xdist's own way, `--dist loadgroup`, groups nothing under pytest 9.2 (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        return _module(nodeid) if _starts_ray(nodeid) else nodeid

    def _assign_work_unit(self, node: WorkerController) -> None:
        waiting = next((scope for scope in self.workqueue if _starts_ray(scope)), None)
        if waiting is not None:
            self.workqueue.move_to_end(waiting, last=False)
        super()._assign_work_unit(node)


def _module(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _starts_ray(nodeid: str) -> bool:
    return _module(nodeid).rpartition("/")[2] in RAY_MODULES


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Clusters of different workers must not find each other; the sockets in this folder want a short path."""
    if hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="sm-", dir="/tmp", ignore_cleanup_errors=True)
        os.environ["RAY_TMPDIR"] = folder.name
        config.add_cleanup(folder.cleanup)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in RAY_MODULES:
            item.add_marker(pytest.mark.ray)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _RayFirst(config, log)


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
