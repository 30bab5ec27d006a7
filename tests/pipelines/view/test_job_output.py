"""Output folders that can be opened, and those that cannot."""

from pathlib import Path

import orjson
import pytest

from pipelines.errors import ConfigError, ManifestError
from pipelines.output.parts import ShardId
from pipelines.view.job_output import JobOutput, open_output
from tests.pipelines.view.outputs import ANSWERS, TOWNS, write_output


def test_the_committed_shards_in_order(towns: JobOutput) -> None:
    assert towns.shards() == [ShardId(0, 0, False), ShardId(0, 1, False), ShardId(0, 2, True)]
    assert towns.quarantine() == [ShardId(0, 1, False)]
    assert towns.is_complete()
    assert towns.plan.layout.carry.names == ["title", "year"]


def test_a_folder_without_a_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no job of Spanmill here"):
        open_output(str(tmp_path), {}, {})


def test_parts_that_only_their_own_sink_can_read_are_refused(tmp_path: Path) -> None:
    write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path)
    path = tmp_path / "out" / "_manifest.json"
    manifest = orjson.loads(path.read_bytes())
    manifest["results"]["output"]["sink"] = "my_package:Table"
    path.write_bytes(orjson.dumps(manifest))
    with pytest.raises(ConfigError, match=r"of the sink my_package:Table in the format parquet"):
        open_output(str(tmp_path / "out"), {}, {})


def test_documents_that_are_not_there_or_are_none(tmp_path: Path, towns: JobOutput) -> None:
    output = write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path)
    assert output.document("_report.json") is None
    (tmp_path / "out" / "_report.json").write_text("{")
    assert output.document("_report.json") is None
    (tmp_path / "out" / "_report.json").write_text('{"made": "now"}')
    assert output.document("_report.json") == {"made": "now"}
