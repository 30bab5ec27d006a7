import pytest

from actors.registry import RUNTIMES
from pipelines.bench.peers import REFERENCE, all_peers, choose
from pipelines.errors import ConfigError


def test_every_runtime_but_null_is_a_peer_and_every_peer_has_its_file() -> None:
    peers = all_peers()
    runtimes = {str(peer.setup["runtime"]) for peer in peers if peer.worker == "engine"}
    assert runtimes == set(RUNTIMES) - {"null"}
    assert all(peer.file.is_file() for peer in peers)
    assert len({peer.name for peer in peers}) == len(peers)


def test_a_name_means_one_peer_or_all_that_begin_with_it() -> None:
    found, named = choose(all_peers(), ["loop", "pipeline"], "answer")
    assert {peer.name.partition("-")[0] for peer in found} == {REFERENCE, "loop", "pipeline"}
    assert named == {"pipeline"}
    assert [peer.name for peer in choose(all_peers(), [], "embed")[0]] == [
        peer.name for peer in all_peers() if "embed" in peer.tasks
    ]


def test_unknown_and_unable_peers_are_errors() -> None:
    with pytest.raises(ConfigError, match=r"there is no 'pipelin'; there are engine, .*pipeline"):
        choose(all_peers(), ["pipelin"], "answer")
    with pytest.raises(ConfigError, match="pipeline does nothing for --task embed"):
        choose(all_peers(), ["pipeline"], "embed")
