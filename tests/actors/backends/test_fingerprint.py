"""A file is read once for its digest, and again as soon as it is another."""

from hashlib import sha256
from pathlib import Path

from actors.backends.fingerprint import _digest_once, file_digest
from tests.actors.helpers import GOLDEN


def test_a_file_that_is_as_it_was_is_read_once() -> None:
    path = GOLDEN / "models" / "bert" / "model.safetensors"
    first, hits = file_digest(path), _digest_once.cache_info().hits
    assert file_digest(path) == first == sha256(path.read_bytes()).digest()
    assert _digest_once.cache_info().hits == hits + 1


def test_a_file_that_changes_from_moment_to_moment_is_read_each_time(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    for number in range(200):
        path.write_bytes(bytes([number]))
        assert file_digest(path) == sha256(bytes([number])).digest()
