"""What a job is told of the service that it would share; cli/commands/test_serve.py asks a running one."""

from dataclasses import replace

import pytest

from actors.backends.base import find_runtime
from actors.models.hub import find_model, fingerprint
from actors.models.runtime_choice import Candidate
from actors.parameters import ModelParameters
from actors.serving.types import ModelCard
from pipelines.errors import ConfigError
from pipelines.job import service_check
from pipelines.job.service_check import SharedReplicas, _Service, check_service, service_runtime

CARD = ModelCard("mill", "0" * 64, "BertModel", "bfloat16", 512, 384, answers=False, backend="torch")
CARD = replace(CARD, tenants=("default", "search"))
OTHER = replace(CARD, name="other", fingerprint="2" * 64, dtype="float32")
MILL = Candidate("torch", "bfloat16")
SHIPPED = ModelParameters(name="minilm-qa")


def _serve(monkeypatch: pytest.MonkeyPatch, *cards: ModelCard, silent: tuple[str, ...] = ()) -> None:
    found = [SharedReplicas(f"model-{card.name}-{card.dtype}", card, 2) for card in cards]
    monkeypatch.setattr(service_check, "_asked", lambda application: _Service(found, silent))


def test_the_model_and_the_precision_have_to_be_those_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, CARD)
    assert check_service("mill", CARD.fingerprint, MILL).running == 2
    with pytest.raises(ConfigError, match=r"set model\.name to what the service runs"):
        check_service("mill", "1" * 64, MILL)
    with pytest.raises(ConfigError, match=r"mill computes in bfloat16, and this job in float32.*model\.dtype=float32"):
        check_service("mill", CARD.fingerprint, Candidate("torch", "float32"))
    with pytest.raises(ConfigError, match=r"computes with torch, and this job with quick\..* set model\.backend=torch"):
        check_service("mill", CARD.fingerprint, Candidate("quick", "bfloat16"))


def test_the_service_says_in_what_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, CARD)
    assert service_runtime("mill", SHIPPED) == MILL


def test_of_several_models_the_job_gets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, CARD, OTHER, replace(OTHER, dtype="bfloat16"))
    assert check_service("mill", CARD.fingerprint, MILL).card == CARD
    assert check_service("mill", OTHER.fingerprint, MILL).deployment == "model-other-bfloat16"
    runs = r"runs mill \(000000000000\) and other \(222222222222\) and other \(222222222222\), the job was planned with"
    with pytest.raises(ConfigError, match=runs + r" a model that is none of these \(111111111111\)"):
        check_service("mill", "1" * 64, MILL)
    twice = r"the job's model as other \(in torch float32\) and other \(in torch bfloat16\); set model.backend and"
    with pytest.raises(ConfigError, match=twice):
        check_service("mill", OTHER.fingerprint, Candidate("quick", "int8"))


def test_of_several_models_the_runtime_is_that_of_the_job_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_runtime("torch").weights
    ours = replace(OTHER, name="ours", fingerprint=fingerprint(find_model(SHIPPED), "torch"))
    halved = replace(ours, name="halved", dtype="bfloat16")
    _serve(monkeypatch, CARD, ours, replace(OTHER, backend="not.installed:RUNTIME"))
    assert service_runtime("mill", SHIPPED) == Candidate("torch", "float32")
    _serve(monkeypatch, CARD, ours, halved)
    assert service_runtime("mill", SHIPPED.in_type("bfloat16")) == Candidate("torch", "bfloat16")
    with pytest.raises(ConfigError, match=r"as ours \(in torch float32\) and halved \(in torch bfloat16\); set"):
        service_runtime("mill", SHIPPED)
    _serve(monkeypatch, CARD, silent=("model-ours",))
    with pytest.raises(
        ConfigError, match=r"mill \(0{12}\) \(without a running replica: model-ours\), and none of them"
    ):
        service_runtime("mill", SHIPPED)
    _serve(monkeypatch, CARD, OTHER)
    with pytest.raises(ConfigError, match=r"and none of them is minilm-qa; set model\.name to one that"):
        service_runtime("mill", SHIPPED)


def test_a_tenant_has_to_be_one_of_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, CARD)
    assert check_service("mill", CARD.fingerprint, MILL, "search").running == 2
    with pytest.raises(ConfigError, match=r"has no tenant 'ads'; it has default, search\. Name one of these"):
        check_service("mill", CARD.fingerprint, MILL, "ads")
