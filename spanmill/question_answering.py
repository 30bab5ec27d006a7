"""Extractive question answering in this process, called as transformers' question-answering pipeline was."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from actors.engine.decoding.answers import Answers
from actors.engine.inference_task import Wanted
from actors.engine.output_columns import to_table, wanted_columns
from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.preprocess import Rejected, Rejection, prepare_pairs
from spanmill.arguments import checked, column_names, is_iterable, is_table, kind_of, text_array, text_list
from spanmill.columns import chosen_columns, rows_of, wanted_of_columns
from spanmill.model import DEFAULT_MODEL, chunks, open_engine

if TYPE_CHECKING:
    import torch

_PARAMETERS = frozenset(QAParameters.model_fields) - {"null_score"}
_INPUTS: tuple[str, ...] = ("question", "context", "data", "X")
_IGNORED = frozenset(("padding", "batch_size", "num_workers"))
"""Parameters of transformers' pipeline that change no answer: Spanmill chooses its batches itself."""
_ASK = "give question=... and context=..., or dicts that hold both"


class Answer(TypedDict):
    """One answer."""

    score: float
    """Probability; the scores of equal texts of one passage are summed, so it can pass 1."""
    start: int
    """First character (code point) of the answer in the passage."""
    end: int
    """Character after its last."""
    answer: str
    """The text from start to end; "" where the model abstains, with start and end 0."""
    attribution: NotRequired[list[dict[str, Any]] | None]
    """This and all below: with the argument `columns` of a call, or `attention=True`."""
    attention: NotRequired[list[dict[str, Any]]]
    tokens: NotRequired[list[dict[str, Any]]]
    token_vectors: NotRequired[Any]
    hidden: NotRequired[Any]
    embedding: NotRequired[Any]


_COLUMNS = ("attribution", "attention", "tokens", "token_vectors", "hidden", "embedding")
"""What a call may ask for beside the answers."""


class QuestionAnswering:
    """A model that answers questions with spans of the passages they are asked of.

    Called as transformers 4.57.6's `QuestionAnsweringPipeline` is, it gives the same dicts. What it is given at once is
    packed into the batches that this machine computes fastest; a batch never changes an answer.

    >>> qa = QuestionAnswering()
    >>> qa(question="Who waits by the mill?", context="Ada waits by the mill.")["answer"]
    'Ada'
    >>> [a["answer"] for a in qa("Who waits?", "Ada waits by the mill.", top_k=2)][0]
    'Ada'
    """

    def __init__(
        self,
        model: str | PathLike[str] = DEFAULT_MODEL,
        *,
        device: "str | int | torch.device | None" = "auto",
        precision: str = "auto",
        dtype: "str | torch.dtype | None" = None,
        revision: str | None = None,
        threads: int | None = None,
        storage: dict[str, object] | None = None,
        attention: bool = False,
        **parameters: Any,
    ) -> None:
        """Loads a model.

        Args:
            model: `minilm-qa`, the one that ships; a local folder, a Hugging Face hub id, or an fsspec URL.
            device: auto, cpu, cuda, cuda:1; or as transformers takes it: a number, -1 for the CPU, or a torch.device.
                auto, and None, is the GPU where there is one.
            precision: exact (float32: a batch never changes an answer), fast (half precision where the device computes
                it by itself), or auto: fast on a GPU, exact on a CPU.
            dtype: deprecated; the very type instead: float32 (exact), float16 or bfloat16, or torch's own of that name.
            revision: branch, tag or commit of a hub id.
            threads: CPU threads; None is as many as torch takes.
            storage: fsspec options for a model that is named by a URL.
            attention: gives every answer its `attribution`, unless a call names other `columns`: what the answer's
                first and last token attended to, the heaviest first. Passes that tell it are slower.
            parameters: defaults of the parameters of a call, such as `top_k` or `doc_stride`.

        Raises:
            ModelError: the model cannot be found or used; the message says how to mend it.
            TypeError: there is no such parameter, or the model is no name.
            ValueError: a parameter has no such value, or the machine has no such device.
        """
        self._defaults = checked(QAParameters, _known(parameters))
        self._columns = ("attribution",) if attention else ()
        self._engine = open_engine(
            model,
            True,
            device=device,
            precision=precision,
            dtype=dtype,
            revision=revision,
            threads=threads,
            storage=storage,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answers questions.

        Args:
            args: one dict or a list, generator or dataset of dicts with `question` and `context`; a data frame or
                Arrow table with these columns; or question and context, as below.
            question, context: two strings; two sequences of the same length, such as columns of a data frame, an Arrow
                table or a dataset; or many questions and one passage.
            top_k: answers per question.
            columns: what is given beside the answer, one or a list of: attribution, what its first and last token
                attended to; attention, the windows with what every token attended to; tokens of the passage;
                token_vectors, [T, D], aligned with these; hidden, [L + 1, D], the passage's mean vector in every layer;
                embedding, the last of these with length 1. Each is a key of the answer's dict, of the best one where
                `top_k` is more than 1; `Embedder.encode` tells of their values.
            max_seq_len, doc_stride, max_answer_len, max_question_len, handle_impossible_answer, align_to_words: as the
                pipeline's, and as `qa.*` of a job's config.

        Returns:
            For one question an `Answer`, or a list of them where `top_k` is more than 1; for a list of questions a
            list of these; for a generator, and whatever else does not know its length, an iterator of these, which
            reads on as it is consumed.

        Raises:
            KeyError: a dict or table lacks `question` or `context`.
            TypeError: a question or passage is no string, or a parameter is unknown.
            ValueError: one is empty, a question leaves no room for its passage in a window, or a parameter has no such
                value. The message names it.
            ModelError: the model cannot take windows of this size.
        """
        given = {name: kwargs.pop(name) for name in _INPUTS if name in kwargs}
        columns = kwargs.pop("columns", None)
        chosen = self._columns if columns is None else chosen_columns(columns, _COLUMNS, "columns")
        qa = checked(QAParameters, self._defaults.model_dump() | _known(kwargs))
        examples, is_single = _examples(args, given)
        found = self._answer(examples, wanted_of_columns(chosen, EmbeddingParameters(), qa))
        if is_single:
            return next(found)
        return found if isinstance(examples, Iterator) else list(found)

    def _answer(self, examples: Iterable[object], wanted: Wanted) -> Iterator[Answer | list[Answer]]:
        first, qa = 0, wanted.qa
        assert qa is not None
        beside = [column for column in wanted_columns(wanted) if column.name in _COLUMNS]
        for chunk in chunks(examples):
            pairs = [_pair(example, first + number) for number, example in enumerate(chunk)]
            questions = text_array([question for question, _ in pairs], "question", first)
            contexts = text_array([context for _, context in pairs], "context", first)
            keep_texts = wanted.needs_texts
            prepared, rejected = prepare_pairs(self._engine.spec, qa, questions, contexts, keep_texts=keep_texts)
            speechless = _speechless(rejected, first)
            results = self._engine.finish(self._engine.begin(prepared, wanted))
            assert results.answers is not None
            rows = iter(_with(_rows(results.answers), rows_of(to_table(beside, results, wanted)) if beside else []))
            for number in range(len(chunk)):
                found = [] if number in speechless else next(rows)
                yield found if qa.top_k > 1 else (found or [_nothing()])[0]
            first += len(chunk)


def _known(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters by today's names, without those that change nothing."""
    renamed = {"top_k" if name == "topk" else name: value for name, value in parameters.items()}
    unknown = sorted(set(renamed) - _PARAMETERS - _IGNORED)
    if unknown:
        raise TypeError(f"unknown parameter {', '.join(unknown)}; there are {', '.join(sorted(_PARAMETERS))}")
    return {name: value for name, value in renamed.items() if name in _PARAMETERS}


def _examples(args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Iterable[object], bool]:
    """What is asked, and whether it is one question, whose answer is wanted without a list around it."""
    if not args:
        args = tuple(given[name] for name in ("data", "X") if name in given)[:1]
    if len(args) == 2 and not all(_is_example(arg) for arg in args):
        return _of_columns(*args)
    if len(args) > 1:
        return list(args), False
    if len(args) == 1 and isinstance(args[0], str) and "context" in given:
        return _of_columns(args[0], given["context"])
    if len(args) == 1:
        return _of_one(args[0])
    if "question" in given and "context" in given:
        return _of_columns(given["question"], given["context"])
    if given:
        raise TypeError(f"{next(iter(given))} is given alone; {_ASK}")
    raise TypeError(f"nothing is asked; {_ASK}")


def _is_example(value: object) -> bool:
    return isinstance(value, tuple | Mapping) or hasattr(value, "question_text")


def _of_one(data: Any) -> tuple[Iterable[object], bool]:
    if isinstance(data, str | bytes):
        raise TypeError(f"a text alone is no question; {_ASK}")
    if isinstance(data, Mapping):
        _check_names(list(data), "the dict")
        if all(isinstance(data[name], str | None) for name in ("question", "context")):
            return [data], True
        return _of_columns(data["question"], data["context"])
    if hasattr(data, "question_text"):
        return [data], True
    if not is_iterable(data):
        raise TypeError(f"{kind_of(data)} is no question; {_ASK}")
    # A generator, or a dataset that is streamed: it may be longer than the memory.
    if not hasattr(data, "__len__"):
        return iter(data), False
    if is_table(data):
        _check_names(column_names(data), f"the {type(data).__name__}")
        return _of_columns(data["question"], data["context"])
    examples = list(data)
    # As the pipeline does it: a list of one is one.
    return examples, len(examples) == 1


def _of_columns(questions: Any, contexts: Any) -> tuple[Iterable[object], bool]:
    if isinstance(questions, str) and isinstance(contexts, str):
        return [(questions, contexts)], True
    asked = questions if isinstance(questions, str) else text_list(questions, "question")
    passages = contexts if isinstance(contexts, str) else text_list(contexts, "context")
    if isinstance(asked, str):
        raise TypeError("one question and many contexts: repeat the question, [question] * len(contexts)")
    if isinstance(passages, str):
        passages = [passages] * len(asked)
    if len(asked) != len(passages):
        raise ValueError(f"{len(asked)} questions and {len(passages)} contexts; there must be as many of both")
    return list(zip(asked, passages, strict=True)), len(asked) == 1


def _pair(example: object, number: int) -> tuple[object, object]:
    """Question and passage of one example: a dict, a pair, or an object with these attributes."""
    if isinstance(example, tuple) and len(example) == 2:
        question, context = example
    elif isinstance(example, Mapping):
        _check_names(list(example), f"example {number}")
        question, context = example["question"], example["context"]
    elif hasattr(example, "question_text") and hasattr(example, "context_text"):
        question, context = example.question_text, example.context_text
    else:
        raise TypeError(f"example {number} is {kind_of(example)}; give dicts with 'question' and 'context'")
    for name, text in (("question", question), ("context", context)):
        if text is None or (isinstance(text, str) and not text):
            raise ValueError(f"the {name} of example {number} is {'None' if text is None else 'empty'}; leave it out")
    return question, context


def _check_names(names: Sequence[str], what: str) -> None:
    missing = [name for name in ("question", "context") if name not in names]
    if missing:
        raise KeyError(f"{what} has no {missing[0]!r}; 'question' and 'context' must be there")


def _speechless(rejected: Rejected, first: int) -> frozenset[int]:
    """Examples whose passage holds no token, such as one of blanks only: they have no answer."""
    for row, reason in zip(rejected.rows.tolist(), rejected.reasons, strict=True):
        if reason is Rejection.QUESTION_TOO_LONG:
            raise ValueError(
                f"the question of example {first + row} leaves no room for its passage in a window; "
                "raise max_seq_len, or cut questions with max_question_len=64"
            )
    return frozenset(rejected.rows.tolist())


def _rows(answers: Answers) -> Iterator[list[Answer]]:
    texts = [text or "" for text in answers.text.to_pylist()]
    # Abstaining is "" from 0 to 0 in the pipeline, and has no place here.
    starts, ends = answers.start.clip(min=0).tolist(), answers.end.clip(min=0).tolist()
    scores, offsets = answers.score.tolist(), answers.offsets.tolist()
    for start, stop in pairwise(offsets):
        yield [Answer(score=scores[i], start=starts[i], end=ends[i], answer=texts[i]) for i in range(start, stop)]


def _with(answers: Iterator[list[Answer]], columns: Sequence[dict[str, Any]]) -> Iterator[list[Answer]]:
    """The answers of every row, with its columns as keys of the best one."""
    if not columns:
        yield from answers
    else:
        for found, values in zip(answers, columns, strict=True):
            if found:
                found[0] = cast(Answer, {**found[0], **values})
            yield found


def _nothing() -> Answer:
    return Answer(score=0.0, start=0, end=0, answer="")
