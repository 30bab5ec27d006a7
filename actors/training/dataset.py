"""Everything that a training run learns from, as arrays."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from actors.arrays import Ints, Longs
from actors.backends.torch_backend import model_inputs
from actors.batch import Batch
from actors.engine.collate import collate
from actors.errors import ModelError
from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec, WindowTemplate
from actors.tokenization.preprocess import Rejection, prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Tokenized
from actors.tokenization.windows import Windows
from actors.training.labels import SpanLabels, Unlearnable, label_columns, label_windows


@dataclass(frozen=True)
class Pairs:
    """Question and passage windows with their answers."""

    spec: EncoderSpec
    prepared: Tokenized
    labels: SpanLabels

    @classmethod
    def make(
        cls, spec: EncoderSpec, qa: QAParameters, table: pa.Table, start: Longs, stop: Longs
    ) -> tuple["Pairs", dict[Unlearnable, Longs]]:
        """Tokenises and labels the rows of a table with the columns question and context.

        Args:
            start, stop: [R] code points of each row's answer; start -1 where the passage does not answer.

        Returns:
            The pairs, and the rows [X] that were left out for every reason that occurs. They are left out whole, since
            a model that is not shown their answers would learn to abstain.
        """
        questions, contexts = (table.column(name).combine_chunks() for name in ("question", "context"))
        prepared, rejected = prepare_pairs(spec, qa, questions, contexts)
        kept = np.delete(np.arange(len(start)), rejected.rows)
        labels = label_windows(prepared, start[kept], stop[kept])
        silent = np.array([reason is Rejection.NO_TOKENS for reason in rejected.reasons], dtype=bool)
        left_out = {
            Unlearnable.NO_TOKENS: rejected.rows[silent].astype(np.int64),
            Unlearnable.QUESTION_TOO_LONG: rejected.rows[~silent].astype(np.int64),
            Unlearnable.NO_WINDOW: kept[labels.lost],
        }
        learnt = ~np.isin(prepared.windows.owner, labels.lost)
        windows = Windows(**{f.name: getattr(prepared.windows, f.name)[learnt] for f in fields(Windows)})
        labels = replace(labels, first=labels.first[learnt], last=labels.last[learnt])
        pairs = cls(spec, replace(prepared, windows=windows), labels)
        return pairs, {reason: rows for reason, rows in left_out.items() if len(rows)}

    @property
    def lengths(self) -> Ints:
        """[W] tokens of every window."""
        return self.prepared.lengths(self.spec.pair.specials)


@dataclass(frozen=True)
class Texts:
    """Plain texts whose embeddings are kept, a window each."""

    spec: EncoderSpec
    prepared: Tokenized

    @classmethod
    def make(cls, spec: EncoderSpec, texts: pa.StringArray, max_tokens: int) -> "Texts":
        """The distinct texts of at most `max_tokens` tokens, special tokens included; longer ones are left out.

        Raises:
            ModelError: all of them are longer.
        """
        embedding = EmbeddingParameters(max_seq_len=min(max_tokens, spec.max_length))
        distinct = texts.unique()
        prepared, rejected = prepare_texts(spec, embedding, distinct)
        windows_of_owner = np.bincount(prepared.windows.owner, minlength=prepared.owners)
        kept = np.delete(np.arange(len(distinct)), rejected.rows)[windows_of_owner[prepared.row_owner] == 1]
        if not len(kept):
            raise ModelError(f"no text has {max_tokens} tokens or less; raise training.embeddings.max_tokens")
        return cls(spec, prepare_texts(spec, embedding, distinct.take(pa.array(kept)))[0])

    @property
    def lengths(self) -> Ints:
        """[W] tokens of every text."""
        return self.prepared.lengths(self.spec.single.specials)


@dataclass(frozen=True)
class PairTensors:
    """A batch of n windows of width S on its device."""

    inputs: dict[str, Tensor]
    """What the model's forward takes, [n, S] each."""
    allowed: Tensor
    """[n, S] bool: passage tokens and the CLS token."""
    first: Tensor
    """[n] int64 column of the answer's first token; the CLS token's where there is none."""
    last: Tensor
    """[n] int64"""

    @classmethod
    def take(cls, pairs: Pairs, chosen: Longs, device: torch.device) -> "PairTensors":
        """The windows at the positions `chosen`."""
        batch = _collate(pairs.prepared, pairs.spec, pairs.spec.pair, chosen)
        first, last = (torch.from_numpy(a).to(device) for a in label_columns(pairs.labels, chosen, batch))
        allowed = torch.from_numpy(batch.answer_mask).to(device)
        return cls(model_inputs(batch, device), allowed, first, last)


@dataclass(frozen=True)
class TextTensors:
    """A batch of n plain texts of width S on its device."""

    inputs: dict[str, Tensor]
    """What the encoder's forward takes, [n, S] each."""
    mask: Tensor
    """[n, S] 1 for tokens, 0 for padding."""

    @classmethod
    def take(cls, texts: Texts, chosen: Longs, device: torch.device) -> "TextTensors":
        """The texts at the positions `chosen`."""
        batch = _collate(texts.prepared, texts.spec, texts.spec.single, chosen)
        mask = np.arange(batch.width) < batch.lengths[:, None]
        return cls(model_inputs(batch, device), torch.from_numpy(mask).to(device))


def _collate(prepared: Tokenized, spec: EncoderSpec, template: WindowTemplate, chosen: Longs) -> Batch:
    return collate(prepared, template, chosen, spec.pad_id, spec.uses_type_ids)
