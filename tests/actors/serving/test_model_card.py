"""What clients are told of the model, and in which runtime it is."""

from pathlib import Path

import pytest

from actors.errors import ModelError, NoModelError
from actors.models.hub import find_model, fingerprint
from actors.models.runtime_choice import RuntimeChoice, as_baseline, candidates, remember
from actors.parameters import ModelParameters
from actors.registry import RUNTIMES
from actors.serving.model_card import ALL_OUTPUTS, describe, describe_each, describe_named, settled
from actors.serving.parameters import ServedModel
from actors.serving.replica.replica import Replica
from tests.actors.exports import exported
from tests.actors.helpers import GOLDEN, keep_runtimes
from tests.actors.serving.helpers import NAME
from tests.actors.toy_runtimes import FAST_NAME, REFUSED_NAME


def test_the_card_tells_what_the_folder_holds(replica: Replica) -> None:
    card = replica.card
    assert (card.name, card.architecture, card.dtype) == (NAME, "DistilBertForQuestionAnswering", "float32")
    assert (card.max_length, card.hidden_size, card.answers) == (512, 384, True)
    assert card.fingerprint == fingerprint(find_model(ModelParameters(name=NAME)), "torch")
    bert = GOLDEN / "models" / "bert"
    assert describe(bert, ModelParameters(name=str(bert))).name == "bert"


def test_the_card_tells_which_columns_can_be_had(replica: Replica) -> None:
    everything = ("tokens", "embedding", "token_vectors", "hidden", "attention", "attribution")
    assert replica.card.columns == everything
    assert (replica.card.layers, replica.card.heads) == (6, 12)
    bert, plain = GOLDEN / "models" / "bert", ("tokens", "embedding", "token_vectors")
    assert describe(bert, ModelParameters(name=str(bert), backend="null")).columns == plain


def _served(name: str, alias: str | None = None) -> ServedModel:
    return ServedModel(name=alias, model=ModelParameters(name=name))


def test_each_of_several_models_goes_by_its_name_and_so_does_what_is_wrong_with_it(tmp_path: Path) -> None:
    bert = _served(str(GOLDEN / "models" / "bert"))
    cards = describe_each([bert, _served(NAME, "answers")])
    assert [(card.name, card.answers) for card in cards] == [("bert", True), ("answers", True)]
    with pytest.raises(NoModelError, match=r"model nowhere: model\.name: there is no folder \./nowhere"):
        describe_each([bert, _served("./nowhere")])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="model damaged: "):
        describe_each([_served(str(tmp_path), "damaged"), bert])
    with pytest.raises(NoModelError, match=r"^model\.name: there is no folder"):
        describe_each([_served("./nowhere")])


def test_a_service_takes_what_is_remembered_and_torch_where_that_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_runtimes(monkeypatch, "torch")
    for name in (FAST_NAME, REFUSED_NAME):
        monkeypatch.setitem(RUNTIMES, name, name)
    model = ModelParameters(name=str(GOLDEN / "models" / "bert"), backend="auto", device="cpu")
    folder = find_model(as_baseline(model))
    found = candidates(folder, model, ALL_OUTPUTS, on_gpu=False)

    remember(folder, model, False, found, RuntimeChoice(FAST_NAME, "float32", "2 times torch"))
    assert describe_named(model, on_gpu=False).backend == FAST_NAME
    assert caplog.messages == []
    remember(folder, model, False, found, RuntimeChoice(REFUSED_NAME, "float32", "3 times torch"))
    assert describe_named(model, on_gpu=False).backend == "torch"
    assert "cannot be loaded now: its logits are 0.3 off torch's" in caplog.messages[0]
    named = as_baseline(model)
    assert settled(named, on_gpu=False) == named, "what is named is left alone"


def test_of_an_export_at_a_url_what_is_remembered_is_loaded_without_a_conversion(
    conversions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = exported(GOLDEN / "models" / "bert", tmp_path / "bert", ("ctranslate2", "float32"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = ModelParameters(name=f"file://{export}", backend="auto", device="cpu", threads=1)
    folder = find_model(as_baseline(model))
    found = candidates(folder, model, ALL_OUTPUTS, on_gpu=False)
    remember(folder, model, False, found, RuntimeChoice("ctranslate2", "float32", "2 times torch"))
    assert settled(model, on_gpu=False).backend == "ctranslate2"
    made = [path.name for path in (tmp_path / "cache/spanmill/converted").iterdir() if path.is_dir()]
    assert [name.rpartition("-")[0] for name in made] == ["exported-ctranslate2"], "figures alone"
