"""The ceiling by itself; tests of the engine say what it is good for."""

import math

from hypothesis import given
from hypothesis import strategies as st

from actors.engine.cost_model import PassShape
from actors.engine.memory_ceiling import MemoryCeiling


@given(st.integers(64, 100_000), st.integers(1, 400))
def test_it_finds_any_room_and_stays_close_below_it(room: int, width: int) -> None:
    """Passes as large as they may be; those of one window fit in any case."""
    ceiling, failed = MemoryCeiling(), 0
    for _ in range(3000):
        size = PassShape.padded(max(int(min(ceiling.tokens, 1 << 20)) // width, 1), width)
        if size.windows > 1 and size.tokens > room:
            ceiling.fell(size)
            failed += 1
        else:
            ceiling.held(size)
    assert failed <= 24
    assert ceiling.tokens > room / math.sqrt(2) - 2 * width
    # What is there twice over is found from wherever it stands.
    for _ in range(2 * 1024):
        ceiling.held(PassShape.padded(max(int(ceiling.tokens) // width, 1), width))
    assert ceiling.tokens > 2 * room


def test_small_passes_do_not_raise_it() -> None:
    ceiling = MemoryCeiling()
    ceiling.fell(PassShape.padded(64, 100))
    for _ in range(10_000):
        ceiling.held(PassShape.padded(8, 100))
    assert ceiling.tokens == 3200
