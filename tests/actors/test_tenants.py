"""How room is divided between tenants."""

from hypothesis import given
from hypothesis import strategies as st

from actors.tenants import DEFAULT_TENANT, TenantWeights

WEIGHTS = TenantWeights({"a": 1.0, "b": 1.0, "c": 2.0})


def test_a_part_is_by_the_weights_of_those_who_want_it() -> None:
    assert WEIGHTS.part("a", []) == 1.0
    assert WEIGHTS.part("c", ["a", "c"]) == 2 / 3
    assert WEIGHTS.part("a", ["a", "b", "c"]) == 0.25
    assert WEIGHTS.part("a", ["unknown"]) == 0.5


@given(taken=st.integers(0, 12), more=st.integers(0, 12))
def test_the_only_tenant_may_have_the_whole_room(taken: int, more: int) -> None:
    assert TenantWeights().fits(DEFAULT_TENANT, more, {DEFAULT_TENANT: taken}, 10) == (taken + more <= 10)


def test_one_tenant_cannot_fill_the_room_of_others() -> None:
    taken = {"a": 0}
    while WEIGHTS.fits("a", 1, taken, 80):
        taken["a"] += 1
    # The half that is anybody's, and a quarter of the half that is kept.
    assert taken == {"a": 50}
    for tenant, kept in {"b": 10, "c": 20}.items():
        while WEIGHTS.fits(tenant, 1, taken, 80):
            taken[tenant] = taken.get(tenant, 0) + 1
        assert taken[tenant] == kept
    assert sum(taken.values()) == 80


@given(asking=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), max_size=40))
def test_no_more_is_taken_than_there_is_and_what_is_kept_is_always_there(asking: list[tuple[str, int]]) -> None:
    taken: dict[str, float] = {}
    for tenant, more in asking:
        kept = 20 * WEIGHTS.part(tenant, "abc")
        held = taken.get(tenant, 0.0) + more
        fits = WEIGHTS.fits(tenant, more, taken, 40)
        assert fits or held > kept
        if fits:
            taken[tenant] = held
    assert sum(taken.values()) <= 40
