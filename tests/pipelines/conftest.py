"""What several test modules of the pipeline share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.storage.filesystem import Store, resolve
from tests.pipelines.s3_server import S3Server, serve_s3


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server with an empty bucket."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "bucket").mkdir()
    with serve_s3(folder) as server:
        yield server


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An output folder, once on this machine and once on S3."""
    if request.param == "local":
        return resolve(str(tmp_path / "out"))
    server: S3Server = request.getfixturevalue("s3")
    return resolve(f"s3://bucket/{tmp_path.name}", server.options)
