"""Jobs on a Ray cluster that runs already, and whose workers know nothing of this repository."""

import re
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest

from actors.models.hub import find_model
from actors.parameters import EmbeddingParameters, ModelParameters, QAParameters
from tests.chaos.clusters import SETTINGS, cluster
from tests.pipelines.jobs import bare_engine, mixed_rows, part_rows, same_answer, same_vector, write_jsonl
from tests.pipelines.processes import Command

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of this module only."""
    with cluster(tmp_path_factory.getbasetemp() / "r", cpus=2) as running:
        yield running.address


@pytest.mark.more
def test_answers_and_embeddings_with_relative_paths(address: str, tmp_path: Path, untrained_model: Path) -> None:
    """Relative paths are those of the command's folder, wherever the cluster was started."""
    rows = mixed_rows(20)
    copytree(untrained_model, tmp_path / "models" / "mine")
    write_jsonl(tmp_path / "in.jsonl", rows)
    words = ("in.jsonl", "out", "--model", "models/mine", "--set", f"ray.address={address}")
    code, out, err = Command(("spanmill", "answer", *words), tmp_path, SETTINGS).end()
    assert code == 0, err
    assert re.search(rf"answered +{len(rows)}\b", out)
    expected = bare_engine(untrained_model, rows, QAParameters())
    found = part_rows(tmp_path / "out")
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert all(same_answer(row, one["answers"][0]) for row, one in zip(found, expected, strict=True))

    # Without --model, the one that ships: workers that have never heard of it are sent it.
    embedding = ("in.jsonl", "vectors", "--set", "corpus.columns.text=question")
    embed = Command(("spanmill", "embed", *embedding), tmp_path, {**SETTINGS, "RAY_ADDRESS": address})
    code, _, err = embed.end()
    assert code == 0, err
    shipped = find_model(ModelParameters())
    expected = bare_engine(shipped, [{"text": row["question"]} for row in rows], embedding=EmbeddingParameters())
    found = part_rows(tmp_path / "vectors")
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert all(same_vector(row["embedding"], one["embedding"]) for row, one in zip(found, expected, strict=True))
