"""Runtimes beside torch for `model.backend: auto`: a fast one, one that refuses the model, one that crashes."""

import os
from dataclasses import replace
from pathlib import Path

from actors.backends.base import TRANSFORMERS_WEIGHTS, Backend
from actors.backends.null import RUNTIME as NULL
from actors.backends.precision import EXACT
from actors.errors import ModelError
from actors.parameters import ModelParameters

FAST_NAME, REFUSED_NAME, DEADLY_NAME = (f"tests.actors.toy_runtimes:{name}" for name in ("FAST", "REFUSED", "DEADLY"))


def _refuse(folder: Path, model: ModelParameters, with_qa_head: bool) -> Backend:
    raise ModelError("its logits are 0.3 off torch's, more than 0.01")


def _crash(folder: Path, model: ModelParameters, with_qa_head: bool) -> Backend:
    os._exit(3)


FAST = replace(NULL, name="fast", weights=TRANSFORMERS_WEIGHTS, dtypes=frozenset({EXACT}))
REFUSED = replace(FAST, load=_refuse)
DEADLY = replace(FAST, load=_crash)
