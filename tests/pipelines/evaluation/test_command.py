"""`spanmill evaluate`, against the bare engine and scores worked out from its answers."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from actors.parameters import QAParameters
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.errors import CorpusError, ManifestError
from pipelines.evaluation.command import evaluate
from pipelines.evaluation.squad_metrics import exact_match, f1
from pipelines.storage.filesystem import read_bytes, resolve
from tests.pipelines.helpers import jsonl
from tests.pipelines.jobs import bare_engine, mixed_rows, write_jsonl
from tests.pipelines.s3_server import S3Server

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Answerable and not; the mute one has no token and goes to quarantine, the misplaced one is left out."""
    rows = [{**row, "id": str(number), "source": "mill"} for number, row in enumerate(mixed_rows(12))]
    nothing: dict[str, Any] = {"text": [], "answer_start": []}
    rows += [{**row, "answers": nothing, "source": None} for row in rows[:4]]
    misplaced = {**rows[0], "answers": {"text": ["never said"], "answer_start": [0]}}
    return [*rows, {**rows[0], "context": "\u200b\u200b", "answers": nothing}, misplaced]


def _config(model: Path, *words: str) -> AnswerConfig:
    return load_config(AnswerConfig, None, [f"model.name={model}", "corpus.shard_rows=9", *words])


@pytest.mark.more
@pytest.mark.usefixtures("cluster")
def test_scores_are_those_of_the_engines_answers(
    rows: Rows, s3: S3Server, tmp_path: Path, untrained_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_jsonl(tmp_path / "a.jsonl", rows)
    config = _config(untrained_model, f"output.storage={orjson.dumps(s3.options).decode()}")
    bucket = resolve("s3://bucket", s3.options)

    def evaluated(limit: int | None = None) -> Any:
        assert evaluate(config, [str(data)], limit, "s3://bucket/r.json", "s3://bucket/kept") == 0
        return orjson.loads(read_bytes(bucket.fs, bucket.path("r.json")))

    found = evaluated()
    shown = capsys.readouterr()
    gold = [row["answers"]["text"] for row in rows[:16]]
    # The row in quarantine counts as abstaining; without abstaining only rows with an answer count.
    forced, free = (
        [row["answers"][0]["answer"] for row in bare_engine(untrained_model, rows[:16], qa)]
        for qa in (QAParameters(), QAParameters(handle_impossible_answer=True))
    )
    for score, answers, texts in (
        (found["answerable"], forced[:12], gold[:12]),
        (found["abstaining"]["answerable"], free[:12], gold[:12]),
        (found["abstaining"]["unanswerable"], [*free[12:], None], [*gold[12:], []]),
        (found["abstaining"]["total"], [*free, None], [*gold, []]),
    ):
        assert score["rows"] == len(texts)
        for name, judge in (("em", exact_match), ("f1", f1)):
            values = [judge(*pair) for pair in zip(answers, texts, strict=True)]
            assert score[name] == pytest.approx(100 * sum(values) / len(values))
    assert found["abstaining"]["best_f1"]["score"] >= found["abstaining"]["total"]["f1"]

    assert (found["rows"], found["quarantined"]) == (17, {"rows": 1, "reasons": {"no_tokens": 1}})
    place = f"a.jsonl@{len(jsonl(rows[:-1]))}"
    assert found["data"]["left_out"] == [{"flaw": "answer is not at its offset", "rows": 1, "places": [place]}]
    assert [file["name"] for file in found["data"]["files"]] == ["a.jsonl"]
    assert len(found["model"]["fingerprint"]) == 64
    sources = {group["group"]: group["all"] for group in found["groups"] if group["by"] == "source"}
    assert sources == {"(none)": 4, "mill": 13}
    assert f"1 row left out, answer is not at its offset: {place}" in shown.err
    assert re.search("quarantined +1 row, judged as if the answer were empty", shown.out)

    # The same command finds the job done, another one is refused.
    def listed() -> Any:
        bucket.fs.invalidate_cache()
        return bucket.fs.find("bucket/kept", detail=True)

    done = listed()
    again = evaluated()
    scores = ("answerable", "abstaining", "groups")
    assert [again[key] for key in scores] == [found[key] for key in scores]
    assert listed() == done
    with pytest.raises(ManifestError, match="belongs to another job"):
        evaluated(limit=3)


def test_data_without_answers(tmp_path: Path, untrained_model: Path) -> None:
    data = write_jsonl(tmp_path / "a.jsonl", [{"id": "a", "question": "q", "context": "c"}])
    with pytest.raises(CorpusError, match=r"a\.jsonl: there is no 'answers'"):
        evaluate(_config(untrained_model), [str(data)])
