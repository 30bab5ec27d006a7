"""The config keys of the model side: model, answers, embeddings, batches, and the sharing of a device."""

from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from actors.registry import AUTO, RUNTIMES, check_name


class Settings(BaseModel):
    """Base of every group of keys: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ModelParameters(Settings):
    """Which model runs, and how its weights are held."""

    name: str = "models/minilm-qa"
    """minilm-qa, the small model that ships (models/minilm-qa is the same); or a local folder, a Hugging Face hub id,
    or any fsspec URL of a folder (s3://bucket/model)."""

    revision: str | None = None
    """Branch, tag or commit of a hub id; null means the hub's main branch."""

    backend: str = "torch"
    """The runtime that executes the forward pass: torch; onnxruntime, openvino or ctranslate2, which need an extra of
    that name and convert the model once (docs/runtimes.md); auto, the fastest of these that are installed, found by
    measuring on the job's own rows where it is long enough for that (docs/runtime-choice.md); "null", which has none
    and makes logits up, to measure all the rest; or one of another package, as package.module:OBJECT."""

    precision: Literal["exact", "fast", "auto"] = "auto"
    """exact is float32: a batch never changes an answer. fast is the half precision of a GPU that agrees better with
    float32, float16 or bfloat16, and bfloat16 on a CPU that computes it itself; of onnxruntime and ctranslate2 it is
    int8 on a CPU. auto is fast on GPUs and exact on CPUs. A job stays at what it was begun with."""

    dtype: Literal["float32", "float16", "bfloat16", "int8"] | None = None
    """Deprecated, model.precision is what to set: the very type of weights and activations. float32 is exact."""

    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes the GPU that Ray gave the actor, or the CPU where it gave none."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads of one model actor; null divides the machine's cores between the actors of the pool."""

    storage: dict[str, object] = {}
    """fsspec options (endpoint, credentials) for a model that is named by a URL."""

    def placed(self, threads: int, with_gpu: bool) -> "ModelParameters":
        """As one actor runs it, with its CPU threads; without a GPU of its own it may still see the machine's."""
        device = self.device if with_gpu else self.device.replace("auto", "cpu")
        return self.model_copy(update={"threads": threads, "device": device})

    def in_type(self, dtype: str) -> "ModelParameters":
        """The same model, with the type of its weights and activations decided."""
        return self.model_copy(update={"precision": "auto", "dtype": dtype})

    def on_gpu(self, with_gpu: bool) -> bool:
        """Whether an actor computes on a GPU, where Ray gives it one of its own or none."""
        return with_gpu if self.device == "auto" else self.device != "cpu"

    @model_validator(mode="after")
    def _one_precision(self) -> "ModelParameters":
        is_fast = self.dtype in ("float16", "bfloat16", "int8")
        if self.dtype is not None and self.precision == ("exact" if is_fast else "fast"):
            raise ValueError(
                f"precision is {self.precision} and dtype is {self.dtype}, which contradict each other; "
                "leave dtype out, which is deprecated"
            )
        return self

    @field_validator("backend", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        # YAML reads a bare null as nothing at all.
        return "null" if value is None else value

    @field_validator("backend")
    @classmethod
    def _known(cls, name: str) -> str:
        return check_name((*RUNTIMES, AUTO), name)


class QAParameters(Settings):
    """Extractive question answering, with the meaning of transformers 4.57.6's QuestionAnsweringPipeline."""

    max_seq_len: int | None = Field(default=None, ge=8)
    """Longest window in tokens, question and special tokens included; null means min(model's limit, 384)."""

    doc_stride: int | None = Field(default=None, ge=0)
    """Tokens that neighbouring windows of a passage share; null means min(max_seq_len // 2, 128)."""

    max_answer_len: int = Field(default=15, ge=1)
    """Longest answer in tokens."""

    max_question_len: int | None = Field(default=None, ge=1)
    """Questions are cut to this many tokens; null never cuts, as transformers' fast path."""

    top_k: int = Field(default=1, ge=1, le=1000)
    """Answers per question; more than one makes the answer columns a list of structs."""

    handle_impossible_answer: bool = False
    """Let the model abstain: the null answer competes with the spans."""

    null_score: bool = False
    """Also write how probable it is that the passage holds no answer, as null_score: set against score, it lets a
    model abstain at another threshold than handle_impossible_answer's, which is null_score > score."""

    align_to_words: bool = True
    """Widen an answer to whole words. Turn it off for languages written without blanks."""


PoolingName = Literal["mean", "cls", "max", "last"]
"""How the token vectors of a text become one."""
TextPart = Literal["passage", "question"]
"""What of a row is embedded."""


def vector_name(part: TextPart, pooling: PoolingName | None) -> str:
    """Name of a column of vectors; `pooling` is None where no other one is wanted."""
    return f"{'question_' if part == 'question' else ''}embedding{'' if pooling is None else f'_{pooling}'}"


class EmbeddingParameters(Settings):
    """How token vectors become one vector per text, and which numbers are kept of it."""

    pooling: PoolingName | tuple[PoolingName, ...] = "mean"
    """mean over the text's tokens, every token counted once however many windows hold it; cls, the first token of each
    window; max, the largest number of any token, in every dimension; last, the last token of the last window. A list
    gives several from one pass, each in a column of its own: embedding_mean, embedding_max."""

    of: TextPart | tuple[TextPart, ...] = "passage"
    """Whose tokens are pooled in an answer job: the passage's (column embedding), the question's (question_embedding),
    or both in a list. The model reads the two together, so each vector knows of the other text; cls is the same of
    both."""

    normalize: bool = True
    """Scale every embedding to length 1."""

    dimensions: int | None = Field(default=None, ge=1)
    """Keep so many of a vector's numbers, the first ones, for models that are trained for it (Matryoshka); `normalize`
    then scales what is left. null keeps all."""

    dtype: Literal["float32", "float16", "int8", "binary"] = "float32"
    """Type of the numbers that are written. int8 takes a quarter of float32, binary an eighth of int8: a bit for every
    number, 1 where it is above 0, eight to a byte (uint8)."""

    int8_range: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """int8 stands for numbers from -int8_range to int8_range in 254 equal steps, and numbers beyond are cut to these.
    null is 1, which holds every vector of length 1; where the numbers of a model are known to be smaller, a smaller
    range loses less. Without `normalize` it has to be given."""

    max_seq_len: int | None = Field(default=None, ge=8)
    """Longest window in tokens, special tokens included; null means min(model's limit, 512)."""

    doc_stride: int = Field(default=0, ge=0)
    """Tokens that neighbouring windows of a long text share."""

    @property
    def poolings(self) -> tuple[PoolingName, ...]:
        """One or several."""
        return self.pooling if isinstance(self.pooling, tuple) else (self.pooling,)

    @property
    def parts(self) -> tuple[TextPart, ...]:
        """The texts of a row that are embedded: one or both."""
        return self.of if isinstance(self.of, tuple) else (self.of,)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that hold the vectors, in the order in which they are written."""
        is_alone = len(self.poolings) == 1
        return tuple(vector_name(part, None if is_alone else one) for part in self.parts for one in self.poolings)

    @property
    def is_one_mean(self) -> bool:
        """Whether it is one weighted mean of one text's tokens, which can be had of every layer."""
        return len(self.columns) == 1 and self.pooling != "max"

    @property
    def int8_scale(self) -> float:
        """What 1 of int8 stands for: a number is about int8 * int8_scale."""
        return (self.int8_range or 1.0) / INT8_MOST

    @property
    def dump(self) -> dict[str, object]:
        """As JSON, without the keys that are younger than the first manifests, as long as they say nothing new."""
        keys = self.model_dump(mode="json")
        return {key: value for key, value in keys.items() if key not in _YOUNGER or value != _YOUNGER[key]}

    def check_single(self) -> "EmbeddingParameters":
        """Itself, as the default of a service: one vector of floats for each text.

        Raises:
            ValueError: it asks for something else.
        """
        if isinstance(self.pooling, tuple):
            raise ValueError(f"pooling: one vector is given for a text; name one pooling, such as {self.poolings[0]}")
        if self.of != "passage":
            raise ValueError("of is for answer jobs; leave it out")
        if self.dtype not in ("float32", "float16"):
            raise ValueError(f"dtype: replies hold float32 or float16 unless a request asks for {self.dtype}")
        return self

    @field_validator("pooling", mode="before")
    @classmethod
    def _poolings(cls, value: object) -> object:
        return _names(value, get_args(PoolingName), "pooling")

    @field_validator("of", mode="before")
    @classmethod
    def _of(cls, value: object) -> object:
        return _names(value, get_args(TextPart), "text")

    @model_validator(mode="after")
    def _known_range(self) -> "EmbeddingParameters":
        if self.int8_range is not None and self.dtype != "int8":
            raise ValueError(f"int8_range has no use with dtype: {self.dtype}; leave it out, or set dtype: int8")
        if self.dtype == "int8" and not self.normalize and self.int8_range is None:
            raise ValueError(
                "dtype: int8 without normalize needs int8_range, the largest number that it is to hold; set that, or "
                "normalize: true, with which no number is beyond 1"
            )
        return self


SingleEmbedding = Annotated[EmbeddingParameters, AfterValidator(EmbeddingParameters.check_single)]
"""What a service or an endpoint gives where a request says nothing: one vector of floats for each text."""
INT8_MOST = 127
"""The largest number of int8 that a vector holds; the smallest is -127, so that 0 stands for 0."""
_YOUNGER = {"of": "passage", "dimensions": None, "int8_range": None}


def _names(value: object, known: tuple[str, ...], what: str) -> str | tuple[str, ...]:
    """One name or several, in the order of `known`, so that lists in another order ask for the same.

    Raises:
        ValueError: there is no such name, or none, or one is there twice.
    """
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is no {what}; there are {', '.join(known)}")
    if not names:
        raise ValueError(f"name a {what}, or several in a list: {', '.join(known)}")
    if len(set(names)) < len(names):
        raise ValueError(f"a {what} is named twice; name each once")
    return names[0] if len(names) == 1 else tuple(name for name in known if name in names)


class TokenVectorParameters(Settings):
    """The column token_vectors: a vector for every token of a passage."""

    layers: Literal["last"] | NonNegativeInt | tuple[NonNegativeInt, ...] = "last"
    """Whose hidden states: last, the number of a layer, or a list of numbers, for the mean of several. 0 is what the
    embedding layer gives, 1 the first layer."""

    dtype: Literal["float32", "float16", "int8"] = "float32"
    """Type of the numbers that are written; int8 comes with a scale for every token, its largest number is 127."""

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The layers by their numbers; None for the last, whose number the model alone knows."""
        if self.layers == "last":
            return None
        return (self.layers,) if isinstance(self.layers, int) else self.layers

    @field_validator("layers")
    @classmethod
    def _each_once(cls, layers: str | int | tuple[int, ...]) -> str | int | tuple[int, ...]:
        if not isinstance(layers, tuple):
            return layers
        numbers = _several(layers, "layers")
        return numbers[0] if len(numbers) == 1 else numbers


class AttentionParameters(Settings):
    """The column attention: what the tokens of a window attended to, in every layer and head."""

    top: int | None = Field(default=8, ge=1, le=512)
    """Tokens that are written of those that a token attended to, the heaviest first; null writes them all, which is
    tokens times tokens for each layer and head."""

    layers: tuple[PositiveInt, ...] | None = None
    """Numbers of the layers, from 1; null takes all of them."""

    @field_validator("layers")
    @classmethod
    def _each_once(cls, layers: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return None if layers is None else _several(layers, "layers")


def _several(numbers: tuple[int, ...], key: str) -> tuple[int, ...]:
    """Numbers in ascending order, at least one, and none twice."""
    if not numbers:
        raise ValueError(f"{key} is an empty list; name at least one, or leave it out")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{key} names one twice: {', '.join(map(str, numbers))}")
    return tuple(sorted(numbers))


class ChunkParameters(Settings):
    """How long texts are cut into chunks, each of which gets a row of the output: a vector, and where it stands."""

    tokens: int = Field(default=256, ge=1)
    """Most tokens of a chunk, special tokens not counted."""

    overlap: int = Field(default=0, ge=0)
    """Most tokens at the end of a chunk that the next one begins with: whole sentences, or whole paragraphs, where by
    names these."""

    by: Literal["sentence", "paragraph", "tokens"] = "sentence"
    """What is not cut while it fits: sentence or paragraph, of which a chunk takes as many as fit, or tokens. A
    paragraph that is too long for a chunk is cut into sentences, and a sentence that is too long between tokens."""

    context: Literal["document", "chunk"] = "document"
    """What the model reads: document embeds the whole text, in windows that overlap by embedding.doc_stride, and means
    the vectors of each chunk's tokens (late chunking); chunk embeds every chunk as a text of its own."""

    text: bool = False
    """Also write the text of every chunk."""

    @model_validator(mode="after")
    def _goes_on(self) -> "ChunkParameters":
        if self.overlap >= self.tokens:
            raise ValueError(
                f"overlap ({self.overlap}) has to be less than tokens ({self.tokens}), or no chunk would get further "
                "than the one before; lower overlap, or raise tokens"
            )
        return self


class BatchingParameters(Settings):
    """Limits of the adaptive batcher. It learns the best batch while running; none of these needs tuning."""

    max_windows: int = Field(default=4096, ge=1)
    """Most windows in one forward pass."""

    max_tokens: int = Field(default=1 << 20, ge=64)
    """Most tokens, padding included, in one forward pass: the token budget's ceiling."""

    memory_share: float = Field(default=0.8, gt=0.0, le=1.0)
    """Share of the device's free memory that a pass may be predicted to take."""

    fixed_windows: int | None = Field(default=None, ge=1)
    """Always this many windows a pass instead of a learnt number; null learns."""

    @model_validator(mode="after")
    def _fixed_fits(self) -> "BatchingParameters":
        if self.fixed_windows is not None and self.fixed_windows > self.max_windows:
            raise ValueError(f"fixed_windows ({self.fixed_windows}) is more than max_windows ({self.max_windows})")
        return self


class SharingParameters(Settings):
    """How a model actor divides its device between online requests and offline jobs."""

    quantum_ms: float = Field(default=50.0, gt=0.0)
    """Longest that the offline passes which a device has at a time are predicted to take together while requests come
    in, in milliseconds: an online request waits for no others. A single window may take longer."""

    idle_seconds: float = Field(default=10.0, ge=0.0)
    """After so long without an online request, offline passes are as large as is best for throughput."""

    queue_requests: int = Field(default=1024, ge=1)
    """Online requests that wait in a model actor, at most. That bounds its memory; queue_ms bounds their wait."""

    queue_ms: float = Field(default=2000.0, gt=0.0)
    """Longest that an online request may be predicted to wait for others, in milliseconds; one that would wait longer,
    or make another wait longer, is refused. What large ones have beyond `quantum_ms` has a third of the device at most
    while small ones wait."""

    offline_calls: int = Field(default=2, ge=1)
    """Pieces of offline shards in a model actor's hands: one is computed while others are unpacked or written up."""
