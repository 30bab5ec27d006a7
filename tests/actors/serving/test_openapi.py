"""What schemathesis makes up from the OpenAPI document never gets a 5xx."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error

MADE_UP = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_nothing_made_up_is_a_server_error(server: str, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_url(f"{server}/openapi.json")
    results: list[Any] = list(document.get_all_operations())
    operations = [result.ok() for result in results]
    assert {"POST /", "POST /answer", "POST /v1/embeddings", "POST /embed"} <= {one.label for one in operations}
    for operation in operations:
        # Nothing but a body can be wrong.
        if mode is GenerationMode.POSITIVE or operation.body:
            _check(operation, mode)


def _check(operation: Any, mode: GenerationMode) -> None:
    model = {"model": "minilm-qa"} if operation.path_parameters else {}

    @MADE_UP
    @given(case=operation.as_strategy(generation_mode=mode, path_parameters=model))
    def check(case: Case[Any]) -> None:
        case.call_and_validate(checks=[not_a_server_error])

    check()
