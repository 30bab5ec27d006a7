"""What one key may use, by a clock of the test's own."""

import pytest

from actors.serving.gateway.key_limits import KeyLimits, KeyUse, TokenBucket
from actors.serving.key_parameters import TenantParameters
from actors.serving.types import Refusal, Refused


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _refusal(key: KeyUse) -> Refusal:
    with pytest.raises(Refused) as caught, key.request(1):
        pass
    return caught.value.refusal


def _use(key: KeyUse, characters: int, tokens: int) -> None:
    with key.request(characters) as computed:
        computed(tokens)


def test_a_bucket_holds_a_minute_and_fills_up_as_time_goes_by() -> None:
    clock = Clock()
    bucket = TokenBucket(600, clock)
    bucket.take(599)
    assert bucket.seconds_to_wait() == 0
    bucket.take(101)
    assert bucket.seconds_to_wait() == pytest.approx(10.0), "100 tokens of debt at 10 a second"
    clock.now += 9.9
    assert bucket.seconds_to_wait() > 0
    clock.now += 0.2
    assert bucket.seconds_to_wait() == 0
    clock.now += 3600
    bucket.take(600)
    assert bucket.seconds_to_wait() > 0, "no more than those of a minute are saved up"


def test_more_requests_than_a_key_may_have_in_hand_are_refused_until_one_has_ended() -> None:
    key = KeyUse("search", KeyLimits(requests_in_hand=2))
    with key.request(10), key.request(10):
        refusal = _refusal(key)
        assert (refusal.status, refusal.reason) == (429, "requests_in_hand")
        assert "2 requests in hand" in refusal.message
    _use(key, 10, 3)


def test_tokens_are_those_that_were_computed_and_the_refusal_says_when_some_are_left() -> None:
    clock = Clock()
    key = KeyUse("search", KeyLimits(tokens_per_minute=600), clock)
    _use(key, 100, 500)
    _use(key, 100, 200)
    refusal = _refusal(key)
    assert (refusal.status, refusal.reason, refusal.retry_after) == (429, "tokens_per_minute", 10)
    clock.now += 10.1
    _use(key, 100, 10)


def test_requests_that_come_at_once_do_not_all_pass_while_the_bucket_is_full() -> None:
    key = KeyUse("search", KeyLimits(tokens_per_minute=600), Clock())
    # 400 tokens for 1,000 characters: what the next ones will take is estimated by it.
    _use(key, 1000, 400)
    with key.request(1000):
        assert _refusal(key).reason == "tokens_per_minute"


@pytest.mark.parametrize(("reason", "costs"), [("queue_full", False), ("invalid", False), ("deadline", True)])
def test_what_was_refused_costs_nothing_unless_it_may_have_been_computed(reason: str, costs: bool) -> None:
    key = KeyUse("search", KeyLimits(tokens_per_minute=600), Clock())
    with pytest.raises(Refused), key.request(10_000):
        raise Refused(Refusal(429, reason, "no"))
    if costs:
        assert _refusal(key).reason == "tokens_per_minute"
    else:
        _use(key, 10, 3)


def test_a_client_that_hangs_up_has_used_what_it_asked_for() -> None:
    key = KeyUse("search", KeyLimits(requests_in_hand=1, tokens_per_minute=600), Clock())
    with pytest.raises(KeyboardInterrupt), key.request(10_000):
        raise KeyboardInterrupt
    assert _refusal(key).reason == "tokens_per_minute"


def test_each_of_several_gateways_allows_its_part() -> None:
    tenant = TenantParameters(file="keys", requests_in_hand=5, tokens_per_minute=1000)
    assert KeyLimits.of(tenant, 1) == KeyLimits(5, 1000)
    assert KeyLimits.of(tenant, 2) == KeyLimits(3, 500)
    assert KeyLimits.of(TenantParameters(file="keys"), 2) == KeyLimits()
