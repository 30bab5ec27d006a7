"""What a request is held to, whoever brings it."""

import pytest

from actors.parameters import QAParameters
from actors.serving.gateway.checks import check_dimensions, with_parameters
from actors.serving.types import Refused


def test_parameters_that_are_none_are_the_defaults() -> None:
    qa = QAParameters(top_k=2, doc_stride=5)
    assert with_parameters(qa, top_k=None, doc_stride=None, max_answer_len=3) == QAParameters(
        top_k=2, doc_stride=5, max_answer_len=3
    )


@pytest.mark.parametrize(("name", "value"), [("top_k", 1001), ("max_seq_len", 7), ("doc_stride", -1)])
def test_a_parameter_that_does_not_fit_is_named(name: str, value: int) -> None:
    with pytest.raises(Refused, match=f"^{name}: ") as refused:
        with_parameters(QAParameters(), **{name: value})
    assert (refused.value.refusal.status, refused.value.refusal.field) == (422, name)


def test_another_width_than_the_models_is_named() -> None:
    check_dimensions(384, 384, "minilm-qa")
    with pytest.raises(Refused, match=r"^dimensions: minilm-qa gives 384, not 8; leave it out$") as refused:
        check_dimensions(8, 384, "minilm-qa", reason="unsupported")
    assert (refused.value.refusal.status, refused.value.refusal.reason) == (422, "unsupported")
