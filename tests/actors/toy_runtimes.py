"""Runtimes beside torch for `model.backend: auto`: a fast one, some that refuse the model, one that crashes."""

import os
from dataclasses import replace
from pathlib import Path

from actors.backends.base import TRANSFORMERS_WEIGHTS, Backend
from actors.backends.null import RUNTIME as NULL
from actors.backends.precision import EXACT
from actors.errors import ModelError
from actors.parameters import ModelParameters

FAST_NAME, REFUSED_NAME, DEADLY_NAME, UNPOOLED_NAME = (
    f"tests.actors.toy_runtimes:{name}" for name in ("FAST", "REFUSED", "DEADLY", "UNPOOLED")
)


def _refuse(folder: Path, model: ModelParameters, with_qa_head: bool) -> Backend:
    raise ModelError("its logits are 0.3 off torch's, more than 0.01")


def _load_outside_of_actors(folder: Path, model: ModelParameters, with_qa_head: bool) -> Backend:
    import ray

    if ray.get_runtime_context().get_actor_id() is not None:
        raise ModelError("no room for it here")
    return NULL.load(folder, model, with_qa_head)


def _crash(folder: Path, model: ModelParameters, with_qa_head: bool) -> Backend:
    os._exit(3)


FAST = replace(NULL, name="fast", weights=TRANSFORMERS_WEIGHTS, dtypes=frozenset({EXACT}))
REFUSED = replace(FAST, load=_refuse)
UNPOOLED = replace(FAST, load=_load_outside_of_actors)
"""Is loaded by a driver, and in no actor of Ray."""
DEADLY = replace(FAST, load=_crash)
