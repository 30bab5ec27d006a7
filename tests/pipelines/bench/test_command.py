"""The whole of it, with real processes and a tiny model; peers of other environments are in `make test-more`."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pipelines.bench.command import Request, bench, list_peers
from pipelines.bench.environments import FASTEMBED, prepare
from pipelines.config.job import AnswerConfig, EmbedConfig, OfflineConfig
from pipelines.config.loader import load_config
from pipelines.console import open_console
from pipelines.errors import ConfigError, SpanmillError
from tests.pipelines.bench.setups import MODEL
from tests.pipelines.processes import Command, is_gone


def _config(kind: type[OfflineConfig]) -> OfflineConfig:
    return load_config(kind, None, [f"model.name={MODEL}", "model.threads=1"])


def _lines(folder: Path) -> dict[str, Any]:
    return {line["name"]: line for line in json.loads((folder / "bench.json").read_text())["lines"]}


@pytest.mark.more
def test_a_run_prints_tables_and_writes_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = Request(
        (), _config(AnswerConfig), peers=("engine-fast",), rows=8, rounds=1, output=tmp_path, with_plots=False
    )
    assert bench(request) == 0
    said = capsys.readouterr().out
    assert "How many times as fast" in said
    lines = _lines(tmp_path)
    assert list(lines)[:2] == ["engine, learning", "engine"]
    assert {line["state"] for line in lines.values()} <= {"measured", "skipped"}
    assert [turn["agreement"] for turn in lines["engine"]["turns"]] == [1.0]
    found = json.loads((tmp_path / "bench.json").read_text())
    assert [one["rows"] for one in found["rounds"]] == [8]
    assert found["ratios"]["engine"]["engine"] == 1.0
    assert found["rows_per_second"]["engine"] > 0


@pytest.mark.more
def test_ctrl_c_keeps_the_rounds_that_are_whole(tmp_path: Path) -> None:
    words = ["--model", str(MODEL), "--set", "model.threads=1", "--peers", "engine-fast"]
    words += ["--rows", "8", "--rounds", "100", "--output", str(tmp_path), "--no-plots"]
    command = Command(("spanmill", "bench", *words), tmp_path)
    try:
        command.wait_until(lambda: "round 3 of 100" in command.said()[1])
        command.signal(signal.SIGINT)
        code, _, rest = command.end()
        assert code == 130, rest
        assert is_gone(command)
    finally:
        command.clean_up()
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["is_stopped"]
    assert 2 <= len(found["rounds"]) < 100
    assert {len(line["turns"]) for line in found["lines"] if line["state"] == "measured"} == {len(found["rounds"])}
    assert f"stopped; what follows is of {len(found['rounds'])} whole rounds" in rest


def test_a_place_that_cannot_be_written_to_is_an_error_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpanmillError, match=r"--output .*/file/figures: cannot be made: .*; name another folder"):
        bench(Request((), _config(AnswerConfig), output=tmp_path / "file" / "figures", with_plots=False))


@pytest.mark.more
def test_a_run_draws_plots_and_compares_loops_by_hand(tmp_path: Path) -> None:
    request = Request((), _config(AnswerConfig), peers=("loop",), rows=32, rounds=2, output=tmp_path)
    assert bench(request) == 0
    lines = _lines(tmp_path)
    for name in ("loop-ctranslate2", "loop-onnxruntime"):
        assert [turn["agreement"] for turn in lines[name]["turns"]] == [1.0, 1.0]
    curves = json.loads((tmp_path / "bench.json").read_text())["curves"]
    assert curves["its_choice"]["windows"] >= 1
    assert (1, 1) in {(point["actors"], point["threads"]) for point in curves["by_actors"]}
    assert curves["passes"]
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_peers_that_are_not_installed_are_left_out_and_named_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"pipeline is not installed: transformers<5; --prepare makes"):
        bench(Request((), _config(AnswerConfig), peers=("pipeline",)))
    with pytest.raises(ConfigError, match=r"sentence-transformers is not installed"):
        bench(Request((), _config(EmbedConfig), peers=("fastembed", "sentence-transformers")))


def test_the_list_says_how_to_get_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    list_peers((), open_console())
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["engine"].endswith("in this environment")
    assert "missing transformers<5; --prepare" in lines["pipeline"]
    assert "--python fastembed=PATH" in lines["fastembed"]


@pytest.mark.more
def test_an_environment_is_made_once_and_its_peer_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    prepare(FASTEMBED, open_console())
    made = os.stat(FASTEMBED.python.parent).st_mtime_ns
    config = _config(EmbedConfig)
    request = Request((), config, peers=("fastembed", "job"), rows=8, rounds=1, prepares=True, output=tmp_path / "out")
    assert bench(request) == 0
    assert os.stat(FASTEMBED.python.parent).st_mtime_ns == made
    found = json.loads((tmp_path / "out" / "bench.json").read_text())
    least = {line["name"]: line["turns"][0]["agreement"] for line in found["lines"]}
    assert min(least.values()) > 0.999
    assert {"fastembed", "job"} <= set(least)


@pytest.mark.more
def test_plain_ray_data_and_the_job_answer_on_one_cluster(tmp_path: Path) -> None:
    config = _config(AnswerConfig)
    request = Request((), config, peers=("job", "ray-data"), rows=8, rounds=1, output=tmp_path, with_plots=False)
    assert bench(request) == 0
    lines = {line["name"]: line for line in json.loads((tmp_path / "bench.json").read_text())["lines"]}
    assert lines["job"]["turns"][0]["agreement"] == 1.0
    assert lines["ray-data"]["turns"][0]["seconds"] > 0


@pytest.mark.more
def test_the_job_finds_the_model_that_ships(tmp_path: Path) -> None:
    config = load_config(AnswerConfig, None, ["model.threads=1"])
    assert bench(Request((), config, peers=("job",), rows=8, rounds=1, output=tmp_path, with_plots=False)) == 0
    assert _lines(tmp_path)["job"]["turns"][0]["agreement"] == 1.0
