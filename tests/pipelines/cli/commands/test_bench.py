import pytest

from tests.pipelines.cli.commands.runs import exit_code


def test_the_list_is_printed_and_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(monkeypatch, "bench", "--list") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("engine", "pipeline", "ray-data", "loop-ctranslate2", "infinity"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--peers", "pipelin"), "there is no 'pipelin'"),
        (("--task", "embed", "--peers", "ray-data"), "does nothing for --task embed"),
        (("--set", "qa.max_seq=3"), "qa.max_seq"),
        (("--python", "pipeline"), "NAME=PATH"),
        (("--model", "/no/such/folder", "--peers", "engine"), "there is no folder /no/such/folder"),
    ],
)
def test_wrong_use_is_a_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    assert exit_code(monkeypatch, "bench", *words) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
