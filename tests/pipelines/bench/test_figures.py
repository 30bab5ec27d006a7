from tests.pipelines.bench.reports import make_report


def test_ratios_are_taken_within_a_round() -> None:
    report = make_report()
    engine, other = report.measured[:2]
    # 1/2, 2/8 and 3/3 of the other's seconds.
    assert report.ratio(engine, other) == 2.0
    assert report.ratio(other, engine) == 0.5
    assert report.rates(other) == [50.0, 12.5, 100 / 3]
    assert report.tokens_per_second(engine) == 1000 / 2


def test_the_share_of_the_floor_is_of_the_same_round() -> None:
    report = make_report()
    # The floor is one second in every round.
    assert report.of_floor(report.measured[0]) == 0.5
