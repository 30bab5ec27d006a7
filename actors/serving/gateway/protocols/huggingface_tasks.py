"""The tasks of Hugging Face's Inference API without HTTP: what a body asks for, and the JSON of its reply.

The service's routes and the handler of `spanmill bundle` share them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Discriminator, Tag

from actors.parameters import EmbeddingParameters, QAParameters
from actors.serving.gateway.checks import with_parameters
from actors.serving.gateway.protocols.bodies.schema import Body, Many, OneOrMany, Pair, PipelineParameters, listed
from actors.serving.types import LongTexts, Refused, Reply, Span, Task

_LONG: dict[bool | None, LongTexts] = {None: "window", True: "cut", False: "refuse"}


class Options(Body):
    """Taken for clients that send them: the model is always loaded, and nothing is cached."""

    use_cache: bool | None = None
    wait_for_model: bool | None = None


class Questions(Body):
    """A question and its passage, or a list of such pairs."""

    inputs: OneOrMany[Pair]
    parameters: PipelineParameters | None = None
    options: Options | None = None


class FeatureParameters(Body):
    """How to embed. What is left out or null is the service's default."""

    normalize: bool | None = None
    """Scale every embedding to length 1."""
    truncate: bool | None = None
    """Cut texts that are longer than the model's window (true), or refuse them (false); null pools all of the text."""
    truncation_direction: Literal["right", "left"] | None = None
    """Only "right"."""
    prompt_name: str | None = None
    """Not kept here; only null."""
    dimensions: int | None = None
    """How many of its first numbers an embedding keeps; where it is normalised, it is so afterwards. Null keeps all."""
    encoding_format: Literal["float", "base64"] | None = None
    """Only "float"."""


class Texts(FeatureParameters):
    """A text, or a list of texts. Parameters stand beside them, where clients put them, or in `parameters`."""

    inputs: OneOrMany[str]
    parameters: FeatureParameters | None = None
    options: Options | None = None

    def wanted(self) -> FeatureParameters:
        """The parameters, wherever they stand."""
        beside = self.model_dump(include=set(FeatureParameters.model_fields), exclude_none=True)
        return (self.parameters or FeatureParameters()).model_copy(update=beside)


class Sentences(Body):
    """A sentence, and those that it is compared with."""

    source_sentence: str
    sentences: Many[str]


class SimilarityParameters(Body):
    """How to embed what is compared."""

    truncate: bool | None = None
    """Cut texts that are longer than the model's window (true), or refuse them (false); null pools all of the text."""


class Similarity(Body):
    """A sentence to compare with others."""

    inputs: Sentences
    parameters: SimilarityParameters = SimilarityParameters()
    options: Options | None = None


def body_kind(body: object) -> str:
    """The tag of the body in `Inputs`, by what its `inputs` hold."""
    inputs = body.get("inputs") if isinstance(body, dict) else None
    first = inputs[0] if isinstance(inputs, list) and inputs else inputs
    if not isinstance(first, dict):
        return "(texts)"
    compares = isinstance(inputs, dict) and not Sentences.model_fields.keys().isdisjoint(inputs)
    return "(similarity)" if compares else "(questions)"


Inputs = Annotated[
    Annotated[Questions, Tag("(questions)")]
    | Annotated[Texts, Tag("(texts)")]
    | Annotated[Similarity, Tag("(similarity)")],
    Discriminator(body_kind),
]
"""What `inputs` holds decides."""


@dataclass(frozen=True)
class Asked:
    """What a body asks for: a request of R rows."""

    task: Task
    texts: list[str]
    """[R] passages, or texts to embed."""
    content: Callable[[Reply], object]
    """What the reply says in JSON; NumPy arrays stand for lists of numbers."""
    questions: list[str] = field(default_factory=list)
    """[R] questions; empty unless answers are asked for."""
    qa: QAParameters | None = None
    embedding: EmbeddingParameters | None = None
    long_texts: LongTexts = "window"
    dimensions: int | None = None
    """The width that the client wants its embeddings to have, to be checked against the model's; None where it does not
    say."""


def asked_answers(body: Questions, defaults: QAParameters) -> Asked:
    """Answers to questions; a list of pairs gives a list, and so does `top_k` beyond 1 for each pair.

    Where the model abstains, `answer` is empty, and `start` and `end` are 0.

    Raises:
        Refused: a parameter is not valid.
    """
    pairs = listed(body.inputs)
    qa = with_parameters(defaults, **(body.parameters or PipelineParameters()).model_dump())

    def content(reply: Reply) -> object:
        rows = [[_answer(span) for span in spans] for spans in reply.spans]
        answers = rows if qa.top_k > 1 else [best for (best,) in rows]
        return answers if isinstance(body.inputs, list) else answers[0]

    return Asked("answer", [pair.context for pair in pairs], content, [pair.question for pair in pairs], qa=qa)


def asked_embeddings(body: Texts, defaults: EmbeddingParameters) -> Asked:
    """Embeddings of texts: a list of numbers for one, a list of such lists for a list.

    Raises:
        Refused: a parameter asks for what there is not.
    """
    wanted = body.wanted()
    _check(wanted)
    embedding = with_parameters(defaults, normalize=wanted.normalize, dimensions=wanted.dimensions)

    def content(reply: Reply) -> object:
        vectors = np.asarray(reply.embeddings)
        return vectors if isinstance(body.inputs, list) else vectors[0]

    return Asked(
        "embed",
        listed(body.inputs),
        content,
        embedding=embedding,
        long_texts=_LONG[wanted.truncate],
        dimensions=wanted.dimensions,
    )


def asked_similarities(body: Similarity, defaults: EmbeddingParameters) -> Asked:
    """How similar a sentence is to each of others: the cosine of their embeddings, from -1 to 1.

    Where a refusal numbers the inputs, the source sentence is input 0.
    """
    sentences = body.inputs.sentences

    def content(reply: Reply) -> object:
        source, *others = np.asarray(reply.embeddings)
        return np.asarray(others) @ source

    return Asked(
        "embed",
        # Nothing to compare with is told as everywhere.
        [body.inputs.source_sentence, *sentences] if sentences else [],
        content,
        embedding=defaults.model_copy(update={"normalize": True, "dtype": "float32"}),
        long_texts=_LONG[body.parameters.truncate],
    )


def asked(body: Questions | Texts | Similarity, qa: QAParameters, embedding: EmbeddingParameters) -> Asked:
    """What a body of any task asks for.

    Args:
        qa, embedding: what counts where the body does not say otherwise.

    Raises:
        Refused: a parameter is not valid, or asks for what there is not.
    """
    if isinstance(body, Questions):
        return asked_answers(body, qa)
    return asked_similarities(body, embedding) if isinstance(body, Similarity) else asked_embeddings(body, embedding)


def _answer(span: Span) -> dict[str, object]:
    return {"answer": span.text or "", "score": span.score, "start": max(span.start, 0), "end": max(span.end, 0)}


def _check(wanted: FeatureParameters) -> None:
    if wanted.prompt_name is not None:
        raise _unsupported("prompt_name", "no prompts are kept here; write the prompt before the text")
    if wanted.truncation_direction == "left":
        raise _unsupported("truncation_direction", "texts are cut on the right alone; leave it out")
    if wanted.encoding_format == "base64":
        raise _unsupported(
            "encoding_format", "the answer is numbers; leave it out (of a service, /v1/embeddings gives base64)"
        )


def _unsupported(name: str, message: str) -> Refused:
    return Refused.of_field(name, message, reason="unsupported")
