"""Contexts travel as they are, and make new ones within their trace."""

import pytest

from actors.tracing.context import TraceContext

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("state", ["", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"])
def test_a_context_comes_back_from_its_text(state: str) -> None:
    context = TraceContext(PARENT, state)
    assert TraceContext.from_text(str(context)) == context


def test_a_child_is_another_span_of_the_same_trace() -> None:
    parent = TraceContext(PARENT, "rojo=1")
    children = [parent.child() for _ in range(3)]
    assert {child.trace_id for child in children} == {parent.trace_id}
    assert len({child.span_id for child in (*children, parent)}) == 4
    assert {child.tracestate for child in children} == {"rojo=1"}
    assert all(len(child.traceparent) == len(PARENT) for child in children)


@pytest.mark.parametrize(("flags", "is_sampled"), [("00", False), ("01", True), ("02", False), ("03", True)])
def test_the_first_flag_says_whether_it_is_sampled(flags: str, is_sampled: bool) -> None:
    context = TraceContext(f"{PARENT[:-2]}{flags}")
    assert (context.is_sampled, context.child().is_sampled) == (is_sampled, is_sampled)


def test_a_program_is_told_of_its_span_by_environment_variables() -> None:
    assert TraceContext.from_environment({}) is None
    assert TraceContext.from_environment({"TRACEPARENT": "", "TRACESTATE": "a=b"}) is None
    found = TraceContext.from_environment({"TRACEPARENT": PARENT, "TRACESTATE": "a=b"})
    assert found == TraceContext(PARENT, "a=b")
