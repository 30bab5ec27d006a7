"""What the error of a pass says of the device, and whether the device is lost."""

import threading
from collections.abc import Callable
from typing import NoReturn

import numpy as np

from actors.backends.base import Backend, ModelOutput
from actors.backends.device_errors import device_error
from actors.backends.speed_probe import blank_windows
from actors.engine.inference_task import Wanted
from actors.errors import DeviceLost, OutOfMemory, first_line
from actors.tokenization.encoder_spec import EncoderSpec


class DeviceWatch:
    """Judges errors of passes on one device. Several threads may call at once."""

    def __init__(self, backend: Backend, spec: EncoderSpec, submitting: threading.RLock) -> None:
        """Takes the model, and the lock that whoever submits a pass has."""
        self._backend, self._spec, self._submitting = backend, spec, submitting
        self._lost: DeviceLost | None = None
        self._when_lost: Callable[[DeviceLost], None] | None = None

    def when_lost(self, act: Callable[[DeviceLost], None]) -> None:
        """Calls `act` once, at the moment that the device is lost, in the thread whose pass found it out."""
        self._when_lost = act

    def check(self) -> None:
        """Raises DeviceLost where a pass has found the device lost; runs none itself."""
        if self._lost is not None:
            raise DeviceLost(str(self._lost))

    def judged(self, error: Exception, wanted: Wanted) -> OutOfMemory | None:
        """What to do about a pass that failed: a smaller one where there was no room, none where this is None.

        Raises:
            DeviceLost: it was not the pass, and no other one can succeed.
        """
        found = device_error(error)
        if found is None and not self._can_compute(wanted):
            found = DeviceLost(f"a pass of nothing but padding fails, too: {type(error).__name__}: {first_line(error)}")
        if isinstance(found, DeviceLost):
            self._lose(found, error)
        return found

    def _lose(self, lost: DeviceLost, error: Exception) -> NoReturn:
        with self._submitting:
            is_news, self._lost = self._lost is None, lost
        if is_news and self._when_lost is not None:
            self._when_lost(lost)
        raise DeviceLost(str(lost)) from error

    def _can_compute(self, wanted: Wanted) -> bool:
        """Whether the smallest pass there is succeeds: errors of unknown runtimes have unknown texts."""
        batch = blank_windows(1, 2, self._spec)
        weights = np.ones((1, 1, 2), dtype=np.float32) if wanted.gives_embeddings else None
        try:
            with self._submitting:
                self._backend.forward(batch, wanted.finds_spans, weights, ModelOutput.LAST_HIDDEN in wanted.outputs)
        except Exception as error:
            return isinstance(device_error(error), OutOfMemory)
        return True
