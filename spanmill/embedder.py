"""Embeddings of texts in this process, asked for as sentence-transformers is."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from actors.arrays import Floats
from actors.engine.decoding.compact_vectors import compacted, number_type, written_width
from actors.engine.decoding.pooling import check_dimensions
from actors.engine.inference_task import Results, Wanted
from actors.engine.output_columns import to_table, wanted_columns
from actors.parameters import EmbeddingParameters, PoolingName
from actors.tokenization.preprocess import prepare_texts
from spanmill.arguments import checked, text_array, text_list
from spanmill.columns import Array, chosen_columns, rows_of, wanted_of_columns
from spanmill.model import CHUNK_ROWS, DEFAULT_MODEL, open_engine

if TYPE_CHECKING:
    import torch

_OUTPUTS = ("embedding", "tokens", "token_vectors", "hidden", "attention")


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
        pooling: PoolingName | Sequence[PoolingName] = "mean",
        dimensions: int | None = None,
        output_dtype: Literal["float32", "float16", "int8", "binary"] = "float32",
        int8_range: float | None = None,
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
            pooling: mean over the tokens of the text; cls, the first token's vector; max, the largest number of any
                token in every dimension; last, the last token's vector. A list gives several from one pass.
            dimensions: numbers that are kept of a vector, the first ones; None keeps all.
            output_dtype: type of the vectors' numbers. int8 has one scale for all numbers (`int8_scale`), binary is the
                signs, eight to a byte. (What the model computes in is `precision`.)
            int8_range: the largest number that int8 holds; None is 1.
            max_seq_len: tokens of a window; None is min(the model's limit, 512). Longer texts are several windows,
                and every token counts once: no text is cut.
            doc_stride: tokens that neighbouring windows share.
            device, precision, dtype, revision, threads, storage: as those of `QuestionAnswering`.

        Raises:
            ModelError: the model cannot be found or used, or has fewer `dimensions`; the message says how to mend it.
            TypeError: the model is no name.
            ValueError: a parameter has no such value, or the machine has no such device.
        """
        given = {
            "pooling": pooling,
            "dimensions": dimensions,
            "dtype": output_dtype,
            "int8_range": int8_range,
            "max_seq_len": max_seq_len,
            "doc_stride": doc_stride,
        }
        self._embedding = checked(EmbeddingParameters, given, {"dtype": "output_dtype"})
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
        check_dimensions(self._embedding, self._engine.hidden_size)

    @property
    def dimension(self) -> int:
        """Numbers of a vector: the model's, or those that are kept of them."""
        return self._embedding.dimensions or self._engine.hidden_size

    @property
    def int8_scale(self) -> float:
        """What 1 of an int8 vector stands for: a number is about int8 * int8_scale."""
        return self._embedding.int8_scale

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

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        *,
        output: str | Sequence[str],
        batch_size: int | None = None,
        show_progress_bar: bool = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = True,
        token_vectors: Mapping[str, object] | None = None,
        attention: Mapping[str, object] | None = None,
    ) -> Any: ...

    def encode(
        self,
        sentences: str | Iterable[str],
        *,
        output: str | Sequence[str] = "embedding",
        batch_size: int | None = None,
        show_progress_bar: bool = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = True,
        token_vectors: Mapping[str, object] | None = None,
        attention: Mapping[str, object] | None = None,
    ) -> Any:
        """The vectors of texts, or all else that the model makes of them.

        Args:
            sentences: one text, or many: a list, a generator (which is read to its end first), an array of NumPy, a
                column of a data frame, an Arrow table or a dataset.
            output: what is wanted, one or a list of: embedding; tokens, a list of dicts with text, id, start and end;
                token_vectors, [T, D], aligned with these; hidden, [L + 1, D], the pooled vector of every layer, the
                embedding layer's first, not scaled; attention, a list of windows, dicts whose `weights` are [layers,
                heads, S, K] and whose `targets` say which K tokens of the window these are of.
            batch_size: taken for the sake of sentence-transformers' callers, and ignored: Spanmill finds the batches
                that this machine computes fastest, and they change no vector.
            show_progress_bar: shows one on the terminal's error stream.
            convert_to_numpy: taken for the same sake; an array is what comes unless a tensor is asked for.
            convert_to_tensor: a torch tensor on the CPU in place of an array; of embeddings alone.
            normalize_embeddings: scales every vector to length 1. (sentence-transformers' default is False,
                which leaves it to the model; vectors of a model with a Normalize module have length 1 either way.)
            token_vectors: `layers` (last, a number, or a list of numbers for their mean) and `dtype`, as
                `token_vectors.*` of a job's config.
            attention: `top` (tokens that are kept of those that one attended to; None keeps all) and `layers`, as
                `attention.*` of a job's config.

        Returns:
            Of `output="embedding"` an array, [n, D], or [D] for one text; a dict of such arrays by their columns' names
            (`embedding_mean`) where there are several poolings. Of another name a list with its value for each text,
            and of a list of names a list of dicts, as of sentence-transformers' `output_value`; without the list around
            it for one text. Jobs (`spanmill.embed`) write the same as Arrow tables, however many texts there are.

        Raises:
            TypeError: a text is no string, or `sentences` holds no texts.
            ValueError: a text holds no token, such as an empty one; the message names it. Or there is no such output.
            ModelError: the model cannot take windows of this size, or does not give what is wanted.
        """
        chosen = chosen_columns(output, _OUTPUTS, "output")
        is_single = isinstance(sentences, str)
        texts = [sentences] if isinstance(sentences, str) else text_list(sentences, "sentences")
        wanted = self._wanted(chosen, normalize_embeddings, token_vectors, attention)
        if output == "embedding":
            vectors = self._vectors(texts, wanted, show_progress_bar)
            found = {name: _tensor(one) if convert_to_tensor else one for name, one in vectors.items()}
            found = {name: one[0] for name, one in found.items()} if is_single else found
            return found if len(found) > 1 else next(iter(found.values()))
        if convert_to_tensor:
            raise ValueError("convert_to_tensor is for output='embedding' alone; leave it out")
        rows = [row for first in _starts(len(texts), show_progress_bar) for row in self._rows(texts, first, wanted)]
        values = rows if not isinstance(output, str) else [row[output] for row in rows]
        return values[0] if is_single else values

    def _wanted(
        self,
        chosen: Sequence[str],
        normalize: bool,
        token_vectors: Mapping[str, object] | None,
        attention: Mapping[str, object] | None,
    ) -> Wanted:
        for name, given in (("token_vectors", token_vectors), ("attention", attention)):
            if given is not None and name not in chosen:
                raise ValueError(f"{name} is given, and output does not name it: output=[..., {name!r}]")
        keys = self._embedding.model_dump() | {"normalize": normalize}
        return wanted_of_columns(chosen, checked(EmbeddingParameters, keys), None, token_vectors, attention)

    def _vectors(self, texts: list[Any], wanted: Wanted, show_progress_bar: bool) -> dict[str, Array]:
        """[n, ...] of each column of vectors, by its name."""
        embedding = self._embedding
        shape = len(texts), written_width(embedding, self._engine.hidden_size)
        found = {name: np.empty(shape, dtype=number_type(embedding)) for name in embedding.columns}
        for first in _starts(len(texts), show_progress_bar):
            results = self._computed(texts, first, wanted)
            for array, vectors in zip(found.values(), results.vectors, strict=True):
                array[first : first + CHUNK_ROWS] = compacted(vectors.values, embedding)
        return found

    def _rows(self, texts: list[Any], first: int, wanted: Wanted) -> list[dict[str, Any]]:
        return rows_of(to_table(wanted_columns(wanted), self._computed(texts, first, wanted), wanted))

    def _computed(self, texts: list[Any], first: int, wanted: Wanted) -> Results:
        """Of the chunk of texts that begins with number `first`."""
        chunk = text_array(texts[first : first + CHUNK_ROWS], "text", first)
        embedding = wanted.embedding or self._embedding
        prepared, rejected = prepare_texts(self._engine.spec, embedding, chunk, keep_texts=wanted.needs_texts)
        if len(rejected.rows):
            raise ValueError(f"text {first + int(rejected.rows[0])} holds no token, so it has no vector; leave it out")
        return self._engine.finish(self._engine.begin(prepared, wanted))


def _starts(count: int, show: bool) -> Any:
    starts = range(0, count, CHUNK_ROWS)
    if not show:
        return starts
    from rich.console import Console
    from rich.progress import track

    return track(starts, description="embedding", console=Console(stderr=True))


def _tensor(vectors: Array) -> "torch.Tensor":
    import torch

    return torch.from_numpy(vectors)
