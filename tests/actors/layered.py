"""Hidden states and attention of a model as transformers itself gives them, window by window, to compare with."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForQuestionAnswering

from actors.arrays import Flags, Floats
from actors.backends.pytorch.padded_pass import model_inputs
from actors.engine.collate import collate
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.tokenized import Tokenized


@dataclass(frozen=True)
class Layered:
    """One window of S tokens."""

    owner: int
    first: int
    """Its first passage token, counted from the passage's start."""
    stop: int
    """The one after its last."""
    passage_start: int
    """Where the passage begins in the window."""
    states: Floats
    """[L + 1, S, D]"""
    attention: Floats
    """[L, H, S, S]"""
    is_text: Flags
    """[S] False on special tokens."""

    def of(self, token: int) -> Floats:
        """[L + 1, D] the states of a passage token."""
        states: Floats = self.states[:, self.passage_start + token - self.first]
        return states

    def edge(self, token: int) -> int:
        """How far a passage token is from the nearer edge of the window."""
        return min(token - self.first, self.stop - 1 - token)


def layered(folder: Path, spec: EncoderSpec, prepared: Tokenized, is_pair: bool) -> list[list[Layered]]:
    """The windows of every owner, each computed alone by `output_hidden_states` and `output_attentions`."""
    model = AutoModelForQuestionAnswering.from_pretrained(folder, attn_implementation="eager", dtype="float32")
    found: list[list[Layered]] = [[] for _ in range(prepared.owners)]
    for window in range(len(prepared.windows)):
        template = spec.pair if is_pair else spec.single
        batch = collate(prepared, template, np.array([window]), spec.pad_id, spec.uses_type_ids)
        inputs = model_inputs(batch, torch.device("cpu"))
        with torch.inference_mode():
            output = model.train(False)(**inputs, output_hidden_states=True, output_attentions=True)
        owner, first, stop = (int(getattr(prepared.windows, name)[window]) for name in ("owner", "first", "stop"))
        states, attention = (torch.cat(list(layers)).numpy() for layers in (output.hidden_states, output.attentions))
        is_text = ~np.isin(batch.ids, (*template.prefix, *template.middle, *template.suffix))
        found[owner].append(Layered(owner, first, stop, int(batch.passage_start[0]), states, attention, is_text))
    return found
