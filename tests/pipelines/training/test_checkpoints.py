"""Checkpoints of a run, on a disk and on a real S3 server."""

from dataclasses import replace

import pytest

from pipelines.output.parts import list_names
from pipelines.storage.filesystem import Store, exists, is_local, read_bytes, write_atomic
from pipelines.storage.url import Url
from pipelines.training.checkpoints import Checkpoints

RUN, OTHER = "0123abcd", "89abcdef"


@pytest.fixture
def kept(store: Store) -> Checkpoints:
    return Checkpoints(store, RUN)


def test_the_last_two_are_kept(kept: Checkpoints) -> None:
    assert (kept.latest(), kept.names()) == (None, [])
    for step in (5, 10, 100, 1000):
        kept.save(step, b"state %d" % step)
    assert kept.names() == [f"{RUN}-000000100.pt", f"{RUN}-000001000.pt"]
    assert kept.latest() == (kept.store.path(f"{RUN}-000001000.pt"), b"state 1000")


def test_a_checkpoint_is_replaced_by_one_of_the_same_step(kept: Checkpoints) -> None:
    kept.save(5, b"one")
    kept.save(5, b"two")
    assert kept.latest() == (kept.store.path(f"{RUN}-000000005.pt"), b"two")


def test_the_one_before_is_taken_when_the_last_is_removed(kept: Checkpoints) -> None:
    for step in (1, 2):
        kept.save(step, b"state %d" % step)
    found = kept.latest()
    assert found is not None
    kept.store.fs.rm(found[0])
    assert kept.latest() == (kept.store.path(f"{RUN}-000000001.pt"), b"state 1")


def test_strangers_are_neither_taken_up_nor_removed(kept: Checkpoints) -> None:
    stranger = replace(kept, run8=OTHER)
    for step in (900, 901, 902):
        stranger.save(step, b"theirs")
    stranger.cache("history.json", b"[]")
    for name in ("notes.txt", f"{RUN}-12.pt.bak"):
        write_atomic(kept.store.fs, kept.store.path(name), b"mine")
    theirs = set(list_names(kept.store)) - {f"{RUN}-12.pt.bak"}
    assert (kept.latest(), kept.cached("history.json")) == (None, None)
    for step in (1, 2, 3):
        kept.save(step, b"ours")
    kept.cache("history.json", b"[1]")
    assert kept.names() == [f"{RUN}-000000002.pt", f"{RUN}-000000003.pt"]
    kept.clear()
    assert set(list_names(kept.store)) == theirs
    assert stranger.latest() == (kept.store.path(f"{OTHER}-000000902.pt"), b"theirs")


def test_what_is_put_by_comes_back(kept: Checkpoints) -> None:
    assert kept.cached("history.json") is None
    kept.cache("history.json", b"[1]")
    kept.cache("history.json", b"[1, 2]")
    assert kept.cached("history.json") == b"[1, 2]"
    assert kept.latest() is None


def test_a_folder_of_its_own_goes_with_the_run(store: Store) -> None:
    write_atomic(store.fs, store.path("config.json"), b"{}")
    folder = Store(Url(f"{store.url}/_checkpoints"), store.options)
    own = Checkpoints(folder, RUN, owns_folder=True)
    own.clear()
    own.save(1, b"state")
    # As a kill in the middle of a write leaves it, and an earlier run that was overwritten.
    for name in (".spanmill-0123.tmp", f"{OTHER}-000000001.pt"):
        write_atomic(folder.fs, folder.path(name), b"rubbish")
    own.clear()
    assert list_names(folder) == []
    if is_local(store.fs):
        assert not store.fs.exists(folder.root)
    assert exists(store.fs, store.path("config.json"))
    own.save(2, b"again")
    assert read_bytes(folder.fs, folder.path(f"{RUN}-000000002.pt")) == b"again"
