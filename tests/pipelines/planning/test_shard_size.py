"""How many rows a shard has."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.planning.shard_size import choose_shard_rows

ROWS = st.integers(0, 10**11)
ROW_BYTES = st.floats(0, 1e8)
PACE = st.none() | st.floats(0.1, 1e9)


@given(ROWS, ROW_BYTES, PACE)
def test_within_what_memory_and_the_folder_can_bear(rows: int, row_bytes: float, pace: float | None) -> None:
    chosen = choose_shard_rows(rows, row_bytes, pace)
    assert chosen >= 1
    assert chosen * row_bytes <= 16 << 20 or chosen == 1
    if row_bytes <= 100:
        assert rows / chosen <= 100_000 or chosen * row_bytes > 8 << 20


def test_a_minute_of_the_actors_time() -> None:
    # 450 bytes are about 100 tokens: 10,000 tokens a second make 6,000 rows a minute.
    assert choose_shard_rows(10**8, 450, 10_000) == 8192
    assert choose_shard_rows(10**7, 450, 500) == 256
    assert choose_shard_rows(10**7, 450, 510) == 256, "a little faster is no other plan"


def test_small_corpora_are_shared_out_and_large_ones_make_few_files() -> None:
    assert choose_shard_rows(364, 450, 1e6) == 64
    assert choose_shard_rows(128 * 500, 450, 1_000) == 500
    assert choose_shard_rows(128 * 500, 450, 1e6) == 2048, "a fast model wants more in hand"
    assert choose_shard_rows(800, 450, 1e6) == 100
    assert choose_shard_rows(10**9, 450, 500) == 10_000
    assert choose_shard_rows(10**9, 450, 1e6) == (16 << 20) // 450


def test_rows_of_many_answers_are_few() -> None:
    assert choose_shard_rows(10**8, 450, 10_000, answers=1000) == 262
    assert choose_shard_rows(10**8, 450, 10_000, answers=20) == 8192


def test_rows_of_large_columns_are_few_however_many_there_are() -> None:
    each = 200 * 384 * 4.0
    for rows in (10**4, 10**6, 10**8):
        assert choose_shard_rows(rows, 450, 10_000, column_bytes=each) == (64 << 20) // each
    assert choose_shard_rows(10**6, 450, 10_000, column_bytes=1e9) == 1, "a single row may be larger"
    assert choose_shard_rows(364, 450, 1e6, column_bytes=24.0) == 64, "a few bytes change nothing"


def test_without_a_pace() -> None:
    assert choose_shard_rows(10**8, 450, None) == 4096
