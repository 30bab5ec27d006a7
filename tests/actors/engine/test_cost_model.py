"""The cost model learns what a pass costs."""

import math

import numpy as np
import pytest

from actors.engine.cost_model import CostModel, PassShape


def _taught(*passes: tuple[PassShape, float, int | None]) -> CostModel:
    costs = CostModel()
    costs.observe(PassShape.padded(1, 100), 99.0)  # the first, which pays for warming up
    for size, seconds, peak in passes:
        costs.observe(size, seconds, peak)
    return costs


def test_a_size_counts_tokens_and_squares_with_padding() -> None:
    assert (PassShape.padded(3, 10).tokens, PassShape.padded(3, 10).squares) == (30, 300)


def test_a_level_is_half_an_octave_of_tokens() -> None:
    assert [CostModel.level(tokens) for tokens in (0, 1, 64, 91, 128, 256)] == [0, 0, 12, 13, 14, 16]


def test_nothing_is_known_at_first() -> None:
    costs = CostModel()
    assert costs.known_levels() == []
    assert costs.seconds(PassShape.padded(4, 100)) == math.inf
    assert costs.bytes(PassShape.padded(4, 100)) == 0


def test_the_first_pass_is_forgotten() -> None:
    assert _taught().known_levels() == []
    assert _taught((PassShape.padded(1, 100), 2.0, None)).seconds(PassShape.padded(1, 100)) == 2.0


def test_the_rate_of_a_level_is_the_lower_quartile_of_what_was_seen() -> None:
    costs = _taught(*((PassShape.padded(1, 128), seconds, None) for seconds in (12.8, 0.384, 0.128, 0.256, 0.512)))
    assert costs.rate(CostModel.level(128)) == pytest.approx(0.002)
    assert costs.samples(CostModel.level(128)) == 5
    assert costs.samples(CostModel.level(256)) == 0


def test_old_passes_fade() -> None:
    size = PassShape.padded(2, 64)
    costs = _taught(*[(size, 1.0, None)] * 8, *[(size, 3.0, None)] * 7)
    assert costs.seconds(size) == pytest.approx(3.0)


def test_between_known_levels_rates_are_interpolated_and_beyond_them_kept() -> None:
    costs = _taught((PassShape.padded(1, 64), 64 * 0.5, None), (PassShape.padded(4, 64), 256 * 0.25, None))
    assert costs.known_levels() == [12, 16]
    assert [costs.rate(level) for level in (8, 12, 13, 14, 16, 20)] == pytest.approx(
        [0.5, 0.5, 0.4375, 0.375, 0.25, 0.25]
    )


def test_passes_since_a_level_was_seen() -> None:
    costs = _taught(
        (PassShape.padded(1, 64), 1.0, None), (PassShape.padded(2, 64), 1.0, None), (PassShape.padded(2, 64), 1.0, None)
    )
    assert costs.passes_since(CostModel.level(64)) == 2
    assert costs.passes_since(CostModel.level(128)) == 0
    assert costs.passes_since(CostModel.level(1 << 20)) > 1 << 20


@pytest.mark.parametrize(
    "truth",
    [
        pytest.param((0.0, 1e-4, 0.0), id="tokens"),
        pytest.param((2e-2, 1e-4, 0.0), id="windows"),
        pytest.param((0.0, 1e-4, 5e-7), id="squares"),
    ],
)
def test_time_is_predicted_within_a_tenth_for_sizes_it_has_not_seen(truth: tuple[float, float, float]) -> None:
    """A device whose time really is a weighted sum of windows, tokens and squares, with 5 % noise."""
    rng = np.random.default_rng(1)
    costs = CostModel()

    def seconds(size: PassShape) -> float:
        return float(np.dot(truth, (size.windows, size.tokens, size.squares)))

    for _ in range(300):
        size = PassShape.padded(int(rng.integers(1, 17)), int(rng.integers(20, 385)))
        costs.observe(size, seconds(size) * float(np.exp(rng.normal() * 0.05)))
    errors = [
        abs(costs.seconds(size) / seconds(size) - 1)
        for size in (PassShape.padded(int(rng.integers(1, 17)), int(rng.integers(20, 385))) for _ in range(200))
    ]
    assert np.median(errors) < 0.1
    assert (costs.weights >= 0).all()
    assert costs.weights[1] == 1


def test_levels_that_were_not_seen_for_long_keep_their_time_when_the_weights_change() -> None:
    rng = np.random.default_rng(2)
    old = PassShape.padded(64, 384)
    costs = _taught((old, 7.0, None), (old, 7.0, None))
    for _ in range(600):
        size = PassShape.padded(int(rng.integers(1, 5)), int(rng.integers(20, 385)))
        costs.observe(size, 0.02 * size.windows + 1e-4 * size.tokens)
    assert costs.weights[0] > 20, "the weights did change: a window costs as much as many tokens"
    assert 0.3 < costs.seconds(old) / 7.0 < 3


def test_memory_is_predicted_with_a_margin() -> None:
    costs = _taught((PassShape.padded(8, 128), 1.0, 8_000_000))
    assert costs.bytes(PassShape.padded(8, 128)) == pytest.approx(8_800_000)
    assert costs.bytes(PassShape.padded(16, 128)) == pytest.approx(17_600_000)
    assert costs.bytes(PassShape.padded(4, 256)) > costs.bytes(PassShape.padded(8, 128)), (
        "attention scores grow with the squares"
    )


@pytest.mark.parametrize("climb", [(1, 2, 4, 8, 16, 32, 64, 128, 256), (1, 4, 16, 64, 256)])
def test_fixed_buffers_of_small_passes_do_not_overstate_large_ones(climb: tuple[int, ...]) -> None:
    fixed = 10_000_000
    costs = _taught(*((PassShape.padded(n, 128), 1.0, fixed + n * 1_000_000) for n in climb))
    assert costs.bytes(PassShape.padded(512, 128)) == pytest.approx(1.1 * 2 * (fixed + 256_000_000))
    assert costs.bytes(PassShape.padded(512, 128)) < 1.2 * (fixed + 512_000_000)


def test_a_smaller_pass_teaches_nothing_about_memory() -> None:
    costs = _taught((PassShape.padded(64, 128), 1.0, 64_000_000), (PassShape.padded(1, 128), 1.0, 20_000_000))
    assert costs.bytes(PassShape.padded(64, 128)) == pytest.approx(70_400_000)
