import dataclasses
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from pipelines.bench.figures import Curves
from pipelines.bench.plots import draw
from tests.pipelines.bench.reports import make_report


@pytest.mark.more
def test_every_plot_is_drawn(tmp_path: Path) -> None:
    files = draw(make_report(), tmp_path)
    names = ["peers.png", "batch-size.png", "actors-and-threads.png", "predicted-and-measured.png"]
    assert [file.name for file in files] == names
    for file in files:
        pixels = imread(file)
        assert pixels.shape[0] > 500
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    report = dataclasses.replace(make_report(), curves=Curves())
    assert [file.name for file in draw(report, tmp_path)] == ["peers.png"]
