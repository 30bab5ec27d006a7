"""Whether another way to compute a model's hidden states gives what the model gives, on a few windows."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedModel

from actors.arrays import Floats
from actors.backends.pytorch.cpu_linear import MakeProduct, fastest_of, in_bfloat16, plain, use_products
from actors.backends.pytorch.padded_pass import model_inputs
from actors.batch import Batch

_TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.03, torch.bfloat16: 0.2}
_TRIED = (37, 5, 37)
"""Tokens of the windows that are tried."""


def trial_batch(model: PreTrainedModel) -> Batch:
    """Some windows of random tokens."""
    lengths = np.minimum(_TRIED, model.config.max_position_embeddings - 2)
    # Neither the first ids nor the last: special tokens stand there, and RoBERTa's kin do not count pad tokens.
    rows = model.config.vocab_size
    ids = np.random.default_rng(0).integers(rows // 4, 3 * rows // 4, lengths.sum(), dtype=np.int32)
    batch = Batch(ids, None, lengths, np.ones_like(lengths), lengths - 2, None, pad_id=0)
    if getattr(model.config, "type_vocab_size", 1) > 1:
        batch = replace(batch, types=(batch.positions >= 3).astype(np.int32))
    return batch


@torch.inference_mode()
def own_states(model: PreTrainedModel, batch: Batch) -> Floats:
    """[n, S, D] hidden states by the model's own forward."""
    states: Floats = model.base_model(**model_inputs(batch, model.device))[0].float().cpu().numpy()
    return states


def difference(mine: Floats, own: Floats, batch: Batch) -> float:
    """The largest between two hidden states, padding left out; NaN where one of them is."""
    return float(np.abs(batch.unpad(mine - own)).max())


def tolerance(model: PreTrainedModel, make: MakeProduct) -> float:
    """Most that a hidden state, which is about 1, may differ from the model's own."""
    return _TOLERANCE[torch.bfloat16 if make is in_bfloat16 else model.dtype]


def lay_out_weights(model: PreTrainedModel, make: MakeProduct | None = None) -> None:
    """Has a transformers model on a CPU compute with products of `cpu_linear`, where they agree.

    Args:
        make: None takes the faster ones.
    """
    make = make or fastest_of(model.base_model)
    if make is plain:
        return
    put_back: Callable[[], None] | None = None
    try:
        batch = trial_batch(model)
        own = own_states(model, batch)
        put_back = use_products(model.base_model, make)
        agrees = difference(own_states(model, batch), own, batch) <= tolerance(model, make)
    except Exception:
        # Whatever a model does with its layers beside calling them, and what it lacks that others have.
        agrees = False
    if put_back is not None and not agrees:
        put_back()
