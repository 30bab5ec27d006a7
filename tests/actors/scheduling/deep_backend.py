"""A model of tables whose layers can be looked at, in passes of their own that take as long as a test says."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from actors.backends.base import PassRequest, RanPass, SubmittedPass
from actors.backends.layer_output import LayerOutput, ModelDepth
from tests.actors.helpers import TableBackend

DEPTH = ModelDepth(layers=2, heads=2)


class DeepBackend(TableBackend):
    """Every layer gives what the table gives. `passes` has what was computed: whether with layers, and its shape."""

    depth = DEPTH

    def __init__(self, seconds_with_layers: Callable[[int], float] = lambda tokens: 1e-6) -> None:
        """Takes how long a pass that gives layers says that it took, by its tokens, padding included."""
        super().__init__()
        self.seconds_with_layers = seconds_with_layers
        self.passes: list[tuple[bool, tuple[int, int]]] = []
        self.before: Callable[[], None] = lambda: None
        """Is called before every pass."""

    def with_layers(self) -> "_WithLayers":
        """See `GivesLayers`."""
        return _WithLayers(self)

    def submit(self, request: PassRequest) -> SubmittedPass:
        """See `Backend`."""
        assert request.layers is None
        self.before()
        self.passes.append((False, request.batch.input_ids.shape))
        return super().submit(request)


class _WithLayers(TableBackend):
    def __init__(self, owner: DeepBackend) -> None:
        super().__init__()
        self._owner = owner

    def submit(self, request: PassRequest) -> SubmittedPass:
        """See `Backend`."""
        assert request.layers is not None
        assert request.layers.layer_weights is not None
        owner, ids = self._owner, request.batch.input_ids
        owner.before()
        owner.passes.append((True, ids.shape))
        output = self.forward(request.batch, request.want_spans, request.pool_weights, request.want_hidden)
        pooled = np.einsum("ns,nsd->nd", request.layers.layer_weights, self.hidden_table[ids])
        layers = np.repeat(pooled[:, None], DEPTH.layers + 1, axis=1)
        return RanPass(
            replace(output, layers=LayerOutput(layer_pooled=layers), seconds=owner.seconds_with_layers(ids.size))
        )
