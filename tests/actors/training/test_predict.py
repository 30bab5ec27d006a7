"""What a model in training says is what it would say once it is written."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from actors.models.loading import load_engine, load_spec
from actors.parameters import BatchingParameters, ModelParameters, QAParameters
from actors.tokenization.preprocess import prepare_pairs
from actors.training.predict import predict_answers, predict_together
from actors.training.student import save
from tests.actors.helpers import answers_of, strings
from tests.actors.training.helpers import (
    BERT,
    DISTILBERT,
    assembled,
    golden_rows,
    parameters,
    same_bits,
    take_steps,
    weights,
)

ROWS = [row for row in golden_rows() if 5 < len(row[1].strip()) < 400]
QUESTIONS, CONTEXTS = strings([question for question, _, _ in ROWS]), strings([context for _, context, _ in ROWS])


@pytest.mark.parametrize("base", [DISTILBERT, BERT])
def test_a_model_in_training_answers_as_when_it_is_saved(tmp_path: Path, base: Path) -> None:
    setup = assembled(parameters(), base=base)
    take_steps(setup, 0, 2)
    before = weights(setup)
    spec, qa = setup.spec, QAParameters(top_k=3, handle_impossible_answer=True)
    found = predict_answers(setup.student, spec, qa, QUESTIONS, CONTEXTS).to_pylist()
    assert setup.student.training
    assert same_bits(before, weights(setup))

    save(setup.student, base, tmp_path, "float32")
    engine = load_engine(tmp_path, ModelParameters(device="cpu"), BatchingParameters(), with_qa_head=True)
    pairs, _ = prepare_pairs(load_spec(tmp_path), qa, QUESTIONS, CONTEXTS)
    answers = engine.answer(pairs, QAParameters()).answers
    assert answers is not None
    assert found == [best[0].text for best in answers_of(answers)]
    assert len(set(found)) > 10


def test_rows_that_cannot_be_asked_have_an_empty_answer() -> None:
    setup = assembled(parameters())
    with torch.no_grad():
        questions, contexts = strings(["Who?", "Who? " * 600, "Who?"]), strings(["", "Ada. " * 600, "Ada keeps goats."])
        found = predict_answers(setup.student, setup.spec, QAParameters(), questions, contexts).to_pylist()
    assert found[:2] == ["", ""]
    assert found[2] in "Ada keeps goats."
    assert found[2]


def _predict_as(rank: int, folder: str, found: Any) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    setup = assembled(parameters())
    found.put((rank, predict_together(setup.student, setup.spec, QAParameters(), QUESTIONS, CONTEXTS).to_pylist()))
    distributed.destroy_process_group()


def test_workers_share_the_rows_and_all_have_all_answers(tmp_path: Path) -> None:
    setup = assembled(parameters())
    alone = predict_together(setup.student, setup.spec, QAParameters(), QUESTIONS, CONTEXTS).to_pylist()
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    workers = [context.Process(target=_predict_as, args=(rank, str(tmp_path), found)) for rank in range(2)]
    for worker in workers:
        worker.start()
    answers = dict(found.get(timeout=300) for _ in workers)
    for worker in workers:
        worker.join()
    assert answers == {0: alone, 1: alone}
