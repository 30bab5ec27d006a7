import numpy as np

from pipelines.bench.arithmetic import Shape
from tests.actors.helpers import GOLDEN


def test_it_is_that_of_every_product_of_a_layer() -> None:
    shape = Shape(layers=2, dim=3, inner=5)
    lengths = np.array([4, 7])
    products = 0
    for tokens in lengths.tolist():
        # (rows, inner, columns) of projections, feed-forward, scores and their use.
        for rows, middle, columns in (
            *[(tokens, 3, 3)] * 4,
            (tokens, 3, 5),
            (tokens, 5, 3),
            (tokens, 3, tokens),
            (tokens, tokens, 3),
        ):
            products += 2 * rows * middle * columns
    assert shape.flops(lengths) == 2 * products


def test_a_folder_says_its_shape() -> None:
    shape = Shape.of_folder(GOLDEN / "models" / "distilbert")
    assert shape.layers > 0
    assert shape.inner >= shape.dim > 0
