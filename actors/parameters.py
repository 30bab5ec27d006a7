"""The config keys of the model side: model, answers, embeddings, batches, and the sharing of a device."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

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


class EmbeddingParameters(Settings):
    """How token vectors become one vector per text."""

    pooling: Literal["mean", "cls"] = "mean"
    """mean over the text's tokens, every token counted once however many windows hold it; or cls, the first token of
    each window."""

    normalize: bool = True
    """Scale every embedding to length 1."""

    dtype: Literal["float32", "float16"] = "float32"
    """Type of the numbers that are written."""

    max_seq_len: int | None = Field(default=None, ge=8)
    """Longest window in tokens, special tokens included; null means min(model's limit, 512)."""

    doc_stride: int = Field(default=0, ge=0)
    """Tokens that neighbouring windows of a long text share."""


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
