"""Record what the question-answering pipeline of transformers 4.57.6 answers: cases.jsonl and windows.jsonl.

To rerun, in an environment of its own (transformers 5 no longer has this pipeline)::

    python -m venv /somewhere
    /somewhere/bin/pip install torch==2.13.0 transformers==4.57.6
    /somewhere/bin/python tests/golden/make_golden.py

Run again on the same machine, it writes the same bytes. On another processor the last digits of the scores
may differ, and so may the choice among candidates of score zero, which NumPy sorts as it likes.
"""

import json
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

# Set before torch is imported: the order of parallel sums would change the last digits of the scores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["RUST_BACKTRACE"] = "0"

import torch
import transformers
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, Pipeline

GOLDEN_DIR = Path(__file__).resolve().parent
PASSAGES_FILE = GOLDEN_DIR / "passages.jsonl"
MODELS_DIR = GOLDEN_DIR / "models"
CASES_FILE = GOLDEN_DIR / "cases.jsonl"
WINDOWS_FILE = GOLDEN_DIR / "windows.jsonl"

REQUIRED_TRANSFORMERS = "4.57.6"
SEED = 20240917
MODELS = ["distilbert", "bert", "roberta"]

ANSWER_FIELDS = ["answer", "score", "start", "end"]

PARAMETER_VALUES: dict[str, list[Any]] = {
    "max_seq_len": [48, 64, 96, 128, 384],
    "doc_stride": [0, 8, 32],
    "max_answer_len": [1, 5, 15, 30, 64],
    "top_k": [1, 3, 5, 20],
    "handle_impossible_answer": [True, False],
    "align_to_words": [True, False],
    "max_question_len": [4, 64],
}
PROBABILITY_OF_PARAMETER = {
    "max_seq_len": 0.8,
    "doc_stride": 0.5,
    "max_answer_len": 0.5,
    "top_k": 0.75,
    "handle_impossible_answer": 0.5,
    "align_to_words": 0.6,
    "max_question_len": 0.15,
}
COMBINATIONS_PER_PASSAGE_AND_MODEL = 3
# With more stride than this share of the window, few questions would leave room for the passage.
LARGEST_STRIDE_SHARE = 1 / 3

LONG_QUESTION = (
    "When, in which year and on which day, and by whom, at whose request and at whose expense, was the "
    "very first of the stones that are mentioned in the story laid, and how many of the people who had asked "
    "for it and waited so long were there to see it, and what did they say to each other on the way home?"
)
# Passage, question (None: the passage's first) and parameters that the pipeline refuses, or nearly so.
BORDER_CASES: list[tuple[str, str | None, dict[str, Any]]] = [
    ("empty", None, {}),
    ("short", "", {}),
    ("short", LONG_QUESTION, {"max_seq_len": 48}),
    ("medium_bakery", LONG_QUESTION, {"max_seq_len": 64, "doc_stride": 0}),
    ("medium_bakery", LONG_QUESTION, {"max_seq_len": 128, "max_question_len": 8}),
    ("medium_bakery", LONG_QUESTION, {"max_question_len": 8}),
    ("medium_bakery", None, {"max_seq_len": 64, "doc_stride": 65}),
    ("medium_bakery", None, {"max_seq_len": 64, "doc_stride": 64}),
    ("medium_bakery", None, {"max_seq_len": 64, "doc_stride": 61}),
    ("short", None, {"max_seq_len": 64, "doc_stride": 61}),
    ("short", None, {"max_seq_len": 64, "doc_stride": 62}),
    # Fewer candidates than asked for: the pipeline fills up with candidates of score zero.
    ("short", None, {"top_k": 20, "max_answer_len": 1}),
    ("short", None, {"top_k": 20, "max_answer_len": 1}),
    ("short", None, {"top_k": 20, "max_answer_len": 1, "align_to_words": False}),
    ("medium_bakery", None, {"max_answer_len": 0}),
    # Exactly as many candidates as token pairs, 7 * 7: np.argpartition refuses.
    ("one_word", " ", {"top_k": 49, "align_to_words": False}),
    ("medium_bakery", None, {"top_k": 0}),
]

# Passages whose windows at the smallest lengths would fill the file.
LONG_PASSAGES = {"long_lighthouse", "long_seedbank"}
WINDOW_SHAPES = [(48, 0), (48, 8), (64, 8), (64, 16), (48, 16), (96, 32)]
LONG_PASSAGE_WINDOW_SHAPE = (384, 32)


@dataclass(frozen=True)
class Case:
    """One question put to one model about one passage."""

    model: str
    passage: str
    question: str
    parameters: dict[str, Any] = field(default_factory=dict)

    def key(self) -> str:
        return json.dumps([self.model, self.passage, self.question, self.parameters], sort_keys=True)


def require_transformers_version() -> None:
    if transformers.__version__ != REQUIRED_TRANSFORMERS:
        raise SystemExit(
            f"make_golden.py records the behaviour of transformers {REQUIRED_TRANSFORMERS}, "
            f"but {transformers.__version__} is installed; see the top of this file for how to rerun it."
        )


def read_passages() -> dict[str, dict[str, Any]]:
    with PASSAGES_FILE.open(encoding="ascii") as lines:
        passages = [json.loads(line) for line in lines]
    return {passage["id"]: passage for passage in passages}


def load_pipeline(name: str) -> Pipeline:
    folder = MODELS_DIR / name
    return transformers.pipeline(
        "question-answering",
        model=AutoModelForQuestionAnswering.from_pretrained(folder, dtype=torch.float32),
        tokenizer=AutoTokenizer.from_pretrained(folder, use_fast=True),
        device="cpu",
    )


def default_cases(passages: dict[str, dict[str, Any]]) -> Iterator[Case]:
    for model in MODELS:
        for passage in passages.values():
            for question in passage["questions"]:
                yield Case(model, passage["id"], question)


def single_parameter_cases(passages: dict[str, dict[str, Any]], rng: random.Random) -> Iterator[Case]:
    """Every value of every parameter alone, for every model, each time about another passage."""
    order = list(passages.values())
    rng.shuffle(order)
    next_passage = cycle(order)
    for name, values in PARAMETER_VALUES.items():
        for value in values:
            for model in MODELS:
                passage = next(next_passage)
                yield Case(model, passage["id"], rng.choice(passage["questions"]), {name: value})


def draw_parameters(rng: random.Random) -> dict[str, Any]:
    parameters = {
        name: rng.choice(values)
        for name, values in PARAMETER_VALUES.items()
        if rng.random() < PROBABILITY_OF_PARAMETER[name]
    }
    window = parameters.get("max_seq_len", max(PARAMETER_VALUES["max_seq_len"]))
    if parameters.get("doc_stride", 0) > window * LARGEST_STRIDE_SHARE:
        del parameters["doc_stride"]
    return parameters


def combined_cases(passages: dict[str, dict[str, Any]], rng: random.Random) -> Iterator[Case]:
    for passage in passages.values():
        for model in MODELS:
            for _ in range(COMBINATIONS_PER_PASSAGE_AND_MODEL):
                question = rng.choice(passage["questions"])
                yield Case(model, passage["id"], question, draw_parameters(rng))


def border_cases(passages: dict[str, dict[str, Any]]) -> Iterator[Case]:
    next_model = cycle(MODELS)
    for passage, question, parameters in BORDER_CASES:
        if question is None:
            question = passages[passage]["questions"][0]
        yield Case(next(next_model), passage, question, parameters)


def without_duplicates(cases: Iterable[Case]) -> list[Case]:
    return list({case.key(): case for case in cases}.values())


def all_cases(passages: dict[str, dict[str, Any]]) -> list[Case]:
    rng = random.Random(SEED)
    not_empty = {name: passage for name, passage in passages.items() if passage["context"]}
    return without_duplicates(
        [
            *default_cases(not_empty),
            *single_parameter_cases(not_empty, rng),
            *combined_cases(not_empty, rng),
            *border_cases(passages),
        ]
    )


def describe_error(error: BaseException) -> str:
    first_line = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line}"


def is_panic(error: BaseException) -> bool:
    """Whether Rust code panicked; such exceptions do not derive from Exception."""
    return type(error).__name__ == "PanicException"


def ask(pipe: Pipeline, case: Case, context: str) -> dict[str, Any]:
    try:
        answers = pipe(question=case.question, context=context, **case.parameters)
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        return {"error": describe_error(error)}
    if isinstance(answers, dict):
        answers = [answers]
    return {"expected": [{name: answer[name] for name in ANSWER_FIELDS} for answer in answers]}


def case_record(pipe: Pipeline, case: Case, context: str) -> dict[str, Any]:
    return {
        "model": case.model,
        "passage": case.passage,
        "question": case.question,
        "parameters": case.parameters,
        **ask(pipe, case, context),
    }


def window_cases(passages: dict[str, dict[str, Any]]) -> Iterator[Case]:
    """Two models for each passage, in turn, so that all three see every kind of text."""
    next_model = cycle(MODELS)
    next_shape = cycle(WINDOW_SHAPES)
    next_question = cycle(range(2))
    for passage in passages.values():
        if not passage["context"]:
            continue
        for _ in range(2):
            shape = LONG_PASSAGE_WINDOW_SHAPE if passage["id"] in LONG_PASSAGES else next(next_shape)
            question = passage["questions"][next(next_question)]
            parameters = {"max_seq_len": shape[0], "doc_stride": shape[1]}
            yield Case(next(next_model), passage["id"], question, parameters)


def window_record(pipe: Pipeline, case: Case, context: str) -> dict[str, Any]:
    example = {"question": case.question, "context": context}
    windows = [
        {
            "input_ids": window["input_ids"][0].tolist(),
            "token_type_ids": window["token_type_ids"][0].tolist(),
            "offsets": [list(offsets) for offsets in window["encoding"].offsets],
            "p_mask": [int(masked) for masked in window["p_mask"][0].tolist()],
        }
        for window in pipe.preprocess(example, **case.parameters)
    ]
    return {
        "model": case.model,
        "passage": case.passage,
        "question": case.question,
        **case.parameters,
        "windows": windows,
    }


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="ascii", newline="\n") as lines:
        for record in records:
            lines.write(json.dumps(record, separators=(",", ":")) + "\n")


def main() -> None:
    require_transformers_version()
    torch.set_num_threads(1)
    passages = read_passages()
    pipelines = {name: load_pipeline(name) for name in MODELS}
    cases = [
        case_record(pipelines[case.model], case, passages[case.passage]["context"]) for case in all_cases(passages)
    ]
    windows = [
        window_record(pipelines[case.model], case, passages[case.passage]["context"]) for case in window_cases(passages)
    ]
    write_lines(CASES_FILE, cases)
    write_lines(WINDOWS_FILE, windows)
    refused = sum("error" in case for case in cases)
    print(f"{len(cases)} cases ({refused} refused), {len(windows)} lists of windows")


if __name__ == "__main__":
    main()
