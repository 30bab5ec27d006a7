"""The batcher, on devices that are formulas (see devices.py)."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.backends.base import BatchLayout
from actors.engine.batcher import Batcher, WindowQueue
from actors.engine.cost_model import PassShape
from actors.errors import WindowTooLarge
from actors.parameters import BatchingParameters
from tests.actors.devices import (
    Curve,
    Device,
    cache_knee,
    gentle_knee,
    launch_bound,
    padding,
    quadratic,
    saturating,
    squad_like,
)
from tests.actors.helpers import ints

SETTLED = 40
"""Passes after which the batcher must know its device."""
SMALL, LARGE = [squad_like(1200, seed) for seed in range(2)], [squad_like(20_000, seed) for seed in range(8)]


@pytest.mark.parametrize("noise", [0.02, 0.1])
@pytest.mark.parametrize(
    ("curve", "shards"),
    [
        pytest.param(cache_knee, SMALL, id="cpu"),
        pytest.param(gentle_knee, SMALL, id="gentle-cpu"),
        pytest.param(saturating, LARGE, id="gpu"),
        pytest.param(quadratic, LARGE[:1], id="small-gpu"),
        pytest.param(launch_bound, LARGE, id="launch-bound"),
    ],
)
def test_it_settles_near_the_best_fixed_choice(curve: Curve, shards: list[np.ndarray], noise: float) -> None:
    efficiencies = []
    for seed in range(2):
        device = Device(curve, noise=noise, seed=seed)
        passes = device.run(device.batcher(), shards)
        efficiencies.append(device.efficiency(passes[SETTLED:]))
    assert min(efficiencies) >= 0.9, efficiencies


def test_it_settles_at_small_passes_on_a_cpu_and_large_ones_on_a_gpu() -> None:
    cpu, gpu = Device(cache_knee), Device(saturating)
    on_cpu = [p.size.tokens for p in cpu.run(cpu.batcher(), SMALL)[SETTLED:]]
    on_gpu = [p.size.tokens for p in gpu.run(gpu.batcher(), LARGE)[SETTLED:]]
    assert np.median(on_cpu) < 1500
    assert np.median(on_gpu) > 20_000


def test_noise_of_a_fifth_costs_little() -> None:
    for curve, shards in ((cache_knee, SMALL), (saturating, LARGE[:3])):
        device = Device(curve, noise=0.2)
        assert device.efficiency(device.run(device.batcher(), shards)[SETTLED:]) >= 0.85


def test_padding_is_small_on_a_cpu() -> None:
    for curve in (cache_knee, gentle_knee):
        device = Device(curve, noise=0.05)
        assert padding(device.run(device.batcher(), SMALL)) <= 0.03


def test_it_remembers_its_device_from_shard_to_shard() -> None:
    device = Device(gentle_knee)
    batcher = device.batcher()
    device.run(batcher, SMALL)
    device.passes.clear()
    assert device.efficiency(device.run(batcher, [squad_like(300, seed=9)])) >= 0.9


def test_it_follows_a_cpu_that_slows_down() -> None:
    device = Device(gentle_knee)
    batcher = device.batcher()
    device.run(batcher, SMALL)
    device.passes.clear()
    device.curve = cache_knee
    device.run(batcher, [squad_like(1500, seed) for seed in (5, 6)])
    assert device.efficiency(device.passes[300:]) >= 0.85


@pytest.mark.parametrize("room", [1e8, 3e8])
@pytest.mark.parametrize("curve", [saturating, quadratic, launch_bound])
def test_a_device_that_reports_its_memory_never_runs_out(curve: Curve, room: float) -> None:
    device = Device(curve, room=room, reports=True)
    passes = device.run(device.batcher(), LARGE[:2])
    assert all(p.fitted for p in passes)
    assert max(device.need(p.size) for p in passes) <= 0.8 * room


def test_a_device_with_memory_to_spare_is_used_as_if_it_had_no_limit() -> None:
    device = Device(saturating, room=1e9, reports=True)
    assert device.efficiency(device.run(device.batcher(), LARGE)[SETTLED:]) >= 0.9


def test_where_memory_binds_what_is_allowed_is_used() -> None:
    device = Device(launch_bound, room=3e8, reports=True, bytes_per_square=0.2)
    passes = device.run(device.batcher(), LARGE[:4])[SETTLED:]
    full = [p for p in passes if p.size.windows < p.waiting]
    assert np.median([device.need(p.size) for p in full]) > 0.6 * 0.8 * device.room


def test_running_out_of_memory_halves_at_once_and_larger_passes_are_tried_seldom() -> None:
    for room in (5e7, 2e8):
        device = Device(saturating, room=room)
        passes = device.run(device.batcher(), LARGE)
        first, *later = [i for i, p in enumerate(passes) if not p.fitted]
        assert passes[first + 1].size.tokens <= passes[first].size.tokens / 2
        assert len(later) <= 0.02 * len(passes)


def test_after_running_out_of_memory_it_goes_on_at_a_good_size() -> None:
    device = Device(saturating, room=2e8, bytes_per_square=0.2)
    passes = device.run(device.batcher(), LARGE)
    assert device.efficiency(passes[SETTLED:]) >= 0.9


def test_a_window_that_fits_no_pass_is_an_error_that_says_what_to_do() -> None:
    device = Device(saturating, room=1.1e6)
    with pytest.raises(WindowTooLarge, match=r"single window of 300 tokens.*max_seq_len"):
        device.run(device.batcher(), [ints([300, 20])])
    assert not device.passes[-1].fitted
    assert device.passes[-1].size == PassShape.padded(1, 300)


def test_a_shard_goes_on_when_only_single_windows_fit() -> None:
    device = Device(saturating, room=1.5e6)
    passes = device.run(device.batcher(), [ints([300] * 20)])
    assert sum(p.size.windows for p in passes if p.fitted) == 20
    assert sum(not p.fitted for p in passes) == 1


@given(
    lengths=st.lists(st.integers(1, 400), max_size=60).map(ints),
    max_windows=st.integers(1, 70),
    max_tokens=st.integers(64, 4000),
    fixed=st.none() | st.integers(1, 70),
    curve=st.sampled_from([cache_knee, saturating, launch_bound]),
)
def test_limits_hold_and_every_window_has_its_pass(
    lengths: np.ndarray, max_windows: int, max_tokens: int, fixed: int | None, curve: Curve
) -> None:
    fixed = None if fixed is None else min(fixed, max_windows)
    parameters = BatchingParameters(max_windows=max_windows, max_tokens=max_tokens, fixed_windows=fixed)
    device = Device(curve)
    passes = device.run(device.batcher(parameters), [lengths, lengths])
    assert sum(p.size.windows for p in passes) == 2 * len(lengths)
    assert sum(p.real_tokens for p in passes) == 2 * int(lengths.sum())
    assert all(p.size.windows <= max_windows for p in passes)
    assert all(p.size.tokens <= max_tokens for p in passes if p.size.windows > 1), "a single window goes in any case"


def test_a_fixed_number_of_windows_is_taken_to_the_letter() -> None:
    for fixed in (1, 7, 37, 100):
        device = Device(saturating)
        parameters = BatchingParameters(fixed_windows=fixed, max_windows=fixed)
        counts = [p.size.windows for p in device.run(device.batcher(parameters), [squad_like(250)])]
        assert counts == [fixed] * (250 // fixed) + [250 % fixed] * (250 % fixed > 0)


def test_a_fixed_number_still_gives_way_to_memory() -> None:
    device = Device(saturating, room=2e7)
    passes = device.run(device.batcher(BatchingParameters(fixed_windows=64)), [ints([384] * 300)])
    assert [p.fitted for p in passes].count(False) == 2, "64 and 32 do not fit, 16 do"
    assert {p.size.windows for p in passes if p.fitted} == {16, 300 % 16}


def test_fixed_windows_may_not_pass_the_most_that_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"fixed_windows \(9\) is more than max_windows \(8\)"):
        BatchingParameters(fixed_windows=9, max_windows=8)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=40).map(ints), st.data())
def test_a_schedule_takes_the_longest_first_and_each_once(lengths: np.ndarray, data: st.DataObject) -> None:
    schedule = WindowQueue(lengths)
    seen: list[int] = []
    while len(schedule):
        n = data.draw(st.integers(1, len(schedule)))
        chosen = schedule.peek(n)
        assert schedule.width == lengths[chosen].max()
        windows, tokens, squares = (amount.item() for amount in schedule.real(np.array([n])))
        real = lengths[chosen].astype(np.int64)
        assert (windows, tokens, squares) == (n, real.sum(), (real**2).sum())
        schedule.drop(n)
        seen += chosen.tolist()
    assert sorted(seen) == list(range(len(lengths)))
    assert (np.diff(lengths[seen]) <= 0).all()


def test_a_memory_limit_needs_no_report_to_start() -> None:
    assert Batcher(BatchingParameters(), memory_limit=1).choose(WindowQueue(ints([10] * 5))) == 1


@pytest.mark.parametrize(
    ("curve", "shards", "efficiency"),
    [(cache_knee, SMALL, 0.9), (gentle_knee, SMALL, 0.9), (saturating, LARGE[:2], 0.75), (quadratic, LARGE[:2], 0.9)],
)
@pytest.mark.parametrize("known", [False, True])
def test_a_quantum_is_kept_and_costs_little_beyond_what_it_must(
    curve: Curve, shards: list[np.ndarray], efficiency: float, known: bool
) -> None:
    device = Device(curve, noise=0.05)
    batcher = device.batcher()
    if known:
        device.run(batcher, shards[:1])
        device.passes.clear()
    passes = device.run(batcher, shards, quantum=0.02)[SETTLED:]
    assert max(p.seconds for p in passes if p.size.windows > 1) <= 1.25 * 0.02
    assert device.efficiency(passes) >= efficiency


@given(
    passes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 200), st.floats(1e-4, 10)), max_size=20),
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=60).map(ints),
    fixed=st.none() | st.integers(1, 70),
    quantum=st.floats(1e-5, 10),
)
def test_whatever_was_measured_a_choice_fits_the_quantum_or_is_one_window(
    passes: list[tuple[int, int, float]], lengths: np.ndarray, fixed: int | None, quantum: float
) -> None:
    """Times without rhyme or reason, where more windows may take less time: the turn would be refused for ever."""
    batcher = Batcher(BatchingParameters(fixed_windows=fixed))
    for windows, width, seconds in passes:
        batcher.costs.observe(PassShape.padded(windows, width), seconds)
    schedule = WindowQueue(lengths)
    windows = batcher.choose(schedule, quantum)
    assert windows == 1 or batcher.costs.seconds(PassShape.padded(windows, schedule.width)) <= quantum
    assert windows <= len(lengths) if fixed is None else windows <= fixed


def test_of_a_device_that_nobody_knows_a_quantum_lets_one_window_pass() -> None:
    schedule = WindowQueue(ints([10] * 5))
    for fixed in (None, 4):
        assert Batcher(BatchingParameters(fixed_windows=fixed)).choose(schedule, 10.0) == 1
    assert Batcher(BatchingParameters(fixed_windows=4)).choose(schedule, math.inf) == 4


def _packed_seconds(curve: Curve, shards: list[np.ndarray], parameters: BatchingParameters | None = None) -> float:
    device = Device(curve, noise=0.05 if parameters is None else 0.0, layout=BatchLayout.PACKED)
    return sum(one.seconds for one in device.run(device.batcher(parameters), shards))


@pytest.mark.parametrize(
    ("curve", "shards", "loss"),
    [(gentle_knee, [squad_like(120)], 0.06), (cache_knee, [squad_like(32, seed=seed) for seed in range(12)], 0.08)],
)
def test_a_short_job_on_a_cpu_pays_little_for_learning_where_windows_are_packed(
    curve: Curve, shards: list[np.ndarray], loss: float
) -> None:
    fixed = (BatchingParameters(fixed_windows=windows) for windows in (1, 2, 4, 8, 16, 32))
    best = min(_packed_seconds(curve, shards, parameters) for parameters in fixed)
    assert _packed_seconds(curve, shards) <= (1 + loss) * best


@pytest.mark.parametrize("curve", [saturating, quadratic])
def test_packed_passes_grow_as_large_as_a_gpu_wants_them(curve: Curve) -> None:
    shards = [squad_like(4000, seed=seed) for seed in range(3)]
    best = min(_packed_seconds(curve, shards, BatchingParameters(fixed_windows=4**n)) for n in range(7))
    assert _packed_seconds(curve, shards) <= 1.15 * best


def test_packed_windows_are_counted_without_padding() -> None:
    lengths = ints([10, 30, 20])
    packed, padded = (WindowQueue(lengths, layout).shape(2) for layout in (BatchLayout.PACKED, BatchLayout.PADDED))
    assert packed == PassShape.of(lengths[1:], BatchLayout.PACKED) == (2, 30, 50, 1300)
    assert padded == PassShape.of(lengths[1:], BatchLayout.PADDED) == (2, 30, 60, 1800)
