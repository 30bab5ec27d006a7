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


def test_where_a_parameter_stands_is_named_too() -> None:
    with pytest.raises(Refused, match=r"^parameters\.top_k: "):
        with_parameters(QAParameters(), "parameters", top_k=0)


@pytest.mark.parametrize("wanted", [0, -1, 385])
def test_a_width_that_the_models_cannot_be_cut_to_is_named(wanted: int) -> None:
    for possible in (1, 8, 384):
        check_dimensions(possible, 384, "minilm-qa")
    with pytest.raises(Refused, match=rf"^dimensions: minilm-qa gives 1 to 384, not {wanted}; ") as refused:
        check_dimensions(wanted, 384, "minilm-qa", reason="unsupported")
    with pytest.raises(Refused, match=rf"^parameters.dimensions: .* not {wanted}; "):
        check_dimensions(wanted, 384, "minilm-qa", field="parameters.dimensions")
    assert (refused.value.refusal.status, refused.value.refusal.reason) == (422, "unsupported")
