"""Whose turn it is, without a device."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from actors.scheduling.fair_shares import FairShares
from actors.tenants import TenantWeights

WEIGHTS = {"a": 1.0, "b": 1.0, "c": 2.0}


def _turn(shares: FairShares, waiting: set[str]) -> str:
    shares.note_waiting(waiting)
    return min(sorted(waiting), key=shares.virtual_time)


@given(tokens=st.lists(st.integers(1, 512), min_size=200, max_size=200))
def test_those_who_always_wait_get_tokens_by_weight_whatever_their_requests(tokens: list[int]) -> None:
    shares, had = FairShares(TenantWeights(WEIGHTS)), Counter[str]()
    for own in tokens:
        tenant = _turn(shares, set(WEIGHTS))
        shares.charge(tenant, own)
        had[tenant] += own
    by_weight = [had[tenant] / weight for tenant, weight in WEIGHTS.items()]
    assert max(by_weight) - min(by_weight) <= 512, "never further apart than one request"


def test_one_that_comes_back_starts_where_the_others_are() -> None:
    shares = FairShares(TenantWeights(WEIGHTS))
    for _ in range(10):
        shares.charge(_turn(shares, {"a"}), 100)
    had = Counter[str]()
    for _ in range(10):
        tenant = _turn(shares, {"a", "b"})
        shares.charge(tenant, 100)
        had[tenant] += 1
    assert had == {"a": 5, "b": 5}


def test_one_that_had_more_than_others_pays_for_it_only_while_it_stays() -> None:
    shares = FairShares(TenantWeights(WEIGHTS))
    shares.charge(_turn(shares, {"a", "b"}), 1000)
    assert [_turn(shares, {"a", "b"}) for _ in range(3)] == ["b", "b", "b"]
    # Whoever is alone gets all, also where it had more.
    assert _turn(shares, {"a"}) == "a"
    # `b` went, and what it did not use is not owed to it.
    assert shares.virtual_time("b") < shares.virtual_time("a")
    _turn(shares, {"a", "b"})
    assert shares.virtual_time("b") == shares.virtual_time("a")


def test_what_was_charged_can_be_taken_back() -> None:
    shares = FairShares(TenantWeights(WEIGHTS))
    shares.note_waiting({"c"})
    shares.charge("c", 300)
    shares.charge("c", -100)
    assert shares.virtual_time("c") == 100
    assert shares.virtual_time("c", 50) == 125
