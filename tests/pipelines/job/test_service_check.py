"""What a job is told of the service that it would share; cli/commands/test_serve.py asks a running one."""

from dataclasses import replace

import pytest

from actors.models.runtime_choice import Candidate
from actors.serving.types import ModelCard
from pipelines.errors import ConfigError
from pipelines.job import service_check
from pipelines.job.service_check import check_service, service_runtime

CARD = ModelCard("mill", "0" * 64, "BertModel", "bfloat16", 512, 384, answers=False, backend="torch")
CARD = replace(CARD, tenants=("default", "search"))


@pytest.fixture(autouse=True)
def _service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_check, "_asked", lambda application: (CARD, 2))


def test_the_model_and_the_precision_have_to_be_those_of_the_job() -> None:
    assert check_service("mill", CARD.fingerprint, Candidate("torch", "bfloat16")) == 2
    with pytest.raises(ConfigError, match=r"set model\.name to what the service runs"):
        check_service("mill", "1" * 64, Candidate("torch", "bfloat16"))
    with pytest.raises(ConfigError, match=r"mill computes in bfloat16, and this job in float32.*model\.dtype=float32"):
        check_service("mill", CARD.fingerprint, Candidate("torch", "float32"))
    with pytest.raises(ConfigError, match=r"computes with torch, and this job with quick\..* set model\.backend=torch"):
        check_service("mill", CARD.fingerprint, Candidate("quick", "bfloat16"))


def test_a_tenant_has_to_be_one_of_the_services() -> None:
    assert check_service("mill", CARD.fingerprint, Candidate("torch", "bfloat16"), "search") == 2
    with pytest.raises(ConfigError, match=r"has no tenant 'ads'; it has default, search\. Name one of these"):
        check_service("mill", CARD.fingerprint, Candidate("torch", "bfloat16"), "ads")


def test_the_service_says_in_what_it_computes() -> None:
    assert service_runtime("mill") == Candidate("torch", "bfloat16")
