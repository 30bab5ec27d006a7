"""Embeddings of texts in this process, asked for as sentence-transformers is."""

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from actors.arrays import Floats
from actors.parameters import EmbeddingParameters
from actors.tokenization.preprocess import prepare_texts
from spanmill.arguments import checked, text_array, text_list
from spanmill.model import CHUNK_ROWS, DEFAULT_MODEL, open_engine

if TYPE_CHECKING:
    import torch


class Embedder:
    """A model that gives every text a vector.

    >>> embedder = Embedder()
    >>> vectors = embedder.encode(["A lighthouse on a rock.", "Ships ran aground there."])
    >>> vectors.shape
    (2, 384)
    """

    def __init__(
        self,
        model: str | PathLike[str] = DEFAULT_MODEL,
        *,
        pooling: Literal["mean", "cls"] = "mean",
        max_seq_len: int | None = None,
        doc_stride: int = 0,
        device: "str | int | torch.device | None" = "auto",
        precision: str = "auto",
        dtype: "str | torch.dtype | None" = None,
        revision: str | None = None,
        threads: int | None = None,
        storage: dict[str, object] | None = None,
    ) -> None:
        """Loads a model.

        Args:
            model: `minilm-qa`, the one that ships; a local folder, a Hugging Face hub id, or an fsspec URL.
            pooling: mean over the tokens of the text, or cls, the first token's vector.
            max_seq_len: tokens of a window; None is min(the model's limit, 512). Longer texts are several windows,
                and every token counts once: no text is cut.
            doc_stride: tokens that neighbouring windows share.
            device, precision, dtype, revision, threads, storage: as those of `QuestionAnswering`.

        Raises:
            ModelError: the model cannot be found or used; the message says how to mend it.
            TypeError: the model is no name.
            ValueError: a parameter has no such value, or the machine has no such device.
        """
        given = {"pooling": pooling, "max_seq_len": max_seq_len, "doc_stride": doc_stride}
        self._embedding = checked(EmbeddingParameters, given)
        self._engine = open_engine(
            model,
            False,
            device=device,
            precision=precision,
            dtype=dtype,
            revision=revision,
            threads=threads,
            storage=storage,
        )

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""
        return self._engine.hidden_size

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        *,
        batch_size: int | None = None,
        show_progress_bar: bool = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: Literal[False] = False,
        normalize_embeddings: bool = True,
    ) -> Floats: ...

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        *,
        batch_size: int | None = None,
        show_progress_bar: bool = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: Literal[True],
        normalize_embeddings: bool = True,
    ) -> "torch.Tensor": ...

    def encode(
        self,
        sentences: str | Iterable[str],
        *,
        batch_size: int | None = None,
        show_progress_bar: bool = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = True,
    ) -> Any:
        """The vectors of texts.

        Args:
            sentences: one text, or many: a list, a generator (which is read to its end first), an array of NumPy, a
                column of a data frame, an Arrow table or a dataset.
            batch_size: taken for the sake of sentence-transformers' callers, and ignored: Spanmill finds the batches
                that this machine computes fastest, and they change no vector.
            show_progress_bar: shows one on the terminal's error stream.
            convert_to_numpy: taken for the same sake; an array is what comes unless a tensor is asked for.
            convert_to_tensor: a torch tensor on the CPU in place of an array.
            normalize_embeddings: scales every vector to length 1. (sentence-transformers' default is False,
                which leaves it to the model; vectors of a model with a Normalize module have length 1 either way.)

        Returns:
            float32, [n, D]; [D] for one text.

        Raises:
            TypeError: a text is no string, or `sentences` holds no texts.
            ValueError: a text holds no token, such as an empty one; the message names it.
            ModelError: the model cannot take windows of this size.
        """
        is_single = isinstance(sentences, str)
        texts = [sentences] if isinstance(sentences, str) else text_list(sentences, "sentences")
        embedding = self._embedding.model_copy(update={"normalize": normalize_embeddings})
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for first in _starts(len(texts), show_progress_bar):
            chunk = text_array(texts[first : first + CHUNK_ROWS], "text", first)
            prepared, rejected = prepare_texts(self._engine.spec, embedding, chunk)
            if len(rejected.rows):
                raise ValueError(
                    f"text {first + int(rejected.rows[0])} holds no token, so it has no vector; leave it out"
                )
            found = self._engine.embed(prepared, embedding).embeddings
            assert found is not None
            vectors[first : first + len(chunk)] = found
        wanted = vectors[0] if is_single else vectors
        return _tensor(wanted) if convert_to_tensor else wanted


def _starts(count: int, show: bool) -> Any:
    starts = range(0, count, CHUNK_ROWS)
    if not show:
        return starts
    from rich.console import Console
    from rich.progress import track

    return track(starts, description="embedding", console=Console(stderr=True))


def _tensor(vectors: Floats) -> "torch.Tensor":
    import torch

    return torch.from_numpy(vectors)
