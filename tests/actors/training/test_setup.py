"""Models, data and trainer, put together."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedModel

from actors.errors import ModelError
from actors.training.objective import LOSSES
from actors.training.setup import answer_places
from tests.actors.training.helpers import (
    DISTILBERT,
    QA,
    assembled,
    few_rows,
    parameters,
    same_bits,
    table,
    take_steps,
    weights,
)

KEEPING = {"distance": 0.01, "texts": 16, "max_tokens": 32}


def test_places_of_first_answers() -> None:
    rows = table([("q", "Żółw 🐢 Ada", "🐢 Ada"), ("q", "c", None), ("q", "a b", "b"), ("q", "c", None)])
    several = (
        rows.slice(0, 3)
        .set_column(2, "answer_texts", [[["🐢 Ada", "Żółw"], [], ["b"]]])
        .set_column(3, "answer_starts", [[[5, 0], [], [2]]])
    )
    for found in (answer_places(rows.slice(0, 3)), answer_places(several)):
        assert [part.tolist() for part in found] == [[5, -1, 2], [10, -1, 3]]
    assert [part.tolist() for part in answer_places(rows.slice(1))] == [[-1, 2, -1], [-1, 3, -1]]
    assert [part.tolist() for part in answer_places(rows.slice(3))] == [[-1], [-1]]


@pytest.mark.parametrize("halved", [False, True])
def test_the_embeddings_of_the_first_step_are_those_to_keep(halved: bool) -> None:
    """Without the noise of dropout, which windows have: nothing is to be kept before a step, and something after it."""
    setup = assembled(parameters(embeddings=KEEPING), halved=halved)
    assert any(module.p > 0 for module in setup.student.modules() if isinstance(module, torch.nn.Dropout))
    distances = [step.losses[LOSSES.index("distance")] for step in take_steps(setup, 0, 3)]
    assert distances[0] == pytest.approx(0.0, abs=1e-6)
    assert min(distances[1:]) > 1e-5
    assert all(module.training for module in setup.student.modules())


def test_without_a_distance_no_text_is_read() -> None:
    setup = assembled(parameters())
    assert setup.loop.texts is None
    assert {step.weight for step in take_steps(setup, 0, 2)} == {0.0}


def test_not_one_text_that_is_short_enough() -> None:
    rows = table([("Who keeps three goats in Brindle by the old mill?", "Ada-of-the-three-goats-and-the-mill", None)])
    with pytest.raises(ModelError, match=r"no text has 8 tokens or less; raise training\.embeddings\.max_tokens"):
        assembled(parameters(embeddings=KEEPING | {"max_tokens": 8}), rows)


def test_rows_that_are_not_learnt_from_are_told() -> None:
    rows = table([("Who?", "Ada keeps goats.", "Ada"), ("Who? " * 40, "Ada keeps goats.", "Ada"), ("Who?", " ", None)])
    setup = assembled(parameters(), rows)
    assert {reason.name: found.tolist() for reason, found in setup.left_out.items()} == {
        "QUESTION_TOO_LONG": [1],
        "NO_TOKENS": [2],
    }
    assert setup.loop.total == 1


@pytest.mark.parametrize(
    ("count", "batch", "workers", "words"),
    [
        (2, 8, 3, "a step of 2 windows cannot be shared by 3 workers; lower workers.number$"),
        (
            5,
            2,
            3,
            "a step of 2 windows cannot be shared by 3 workers; lower workers.number or raise training.batch_size",
        ),
    ],
)
def test_a_step_that_is_too_small_to_share(count: int, batch: int, workers: int, words: str) -> None:
    rows = table([("Who?", "Ada keeps goats.", "Ada")] * count)
    with pytest.raises(ModelError, match=words):
        assembled(parameters(batch_size=batch), rows, workers=workers)


def test_a_batch_that_workers_cannot_share_evenly() -> None:
    with pytest.raises(
        ModelError, match=r"training\.batch_size \(8\) is no multiple of the 3 workers .*; set it to 6,"
    ):
        assembled(parameters(batch_size=8), workers=3)


def test_a_base_that_cannot_abstain(tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(DISTILBERT, base)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.post_processor = TemplateProcessing(
        "$A [SEP]", "$A [SEP] $B [SEP]", [("[SEP]", tokenizer.token_to_id("[SEP]"))]
    )
    tokenizer.save(str(base / "tokenizer.json"))
    # One that has no template of its own.
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    answered = table([("Who?", "Ada keeps goats.", "Ada")] * 16)
    assembled(parameters(), answered, base=base)
    with pytest.raises(ModelError, match="the base's tokenizer has no CLS token"):
        assembled(parameters(), table([("Who?", "Ada keeps goats.", None)] * 16), base=base)


def test_not_one_row_that_fits() -> None:
    with pytest.raises(ModelError, match=r"raise it"):
        assembled(parameters(), table([("Who? " * 40, "Ada keeps goats.", "Ada")]))


def test_a_halved_student_and_its_teacher() -> None:
    setup = assembled(parameters(dropout=0.0), teacher=DISTILBERT, halved=True)
    student: PreTrainedModel = setup.student
    assert student.config.num_hidden_layers == 1
    (step,) = take_steps(setup, 0, 1)
    assert step.losses[2] > 0


def test_a_model_is_its_own_best_teacher() -> None:
    setup = assembled(parameters(dropout=0.0), teacher=DISTILBERT)
    (step,) = take_steps(setup, 0, 1)
    assert step.losses[2] == pytest.approx(0.0, abs=1e-5)
    assert step.losses[0] == pytest.approx(0.5 * step.losses[1], abs=1e-5)


def test_the_student_is_in_training_and_the_same_each_time() -> None:
    one, other = assembled(parameters()), assembled(parameters())
    assert one.student.training
    assert same_bits(weights(one), weights(other))


def test_objectives_are_wrapped() -> None:
    """As DistributedDataParallel wraps them: steps go through what the place makes of the objective."""
    from actors.training.setup import Sources, WorkerRank, assemble

    class Twice(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, *batch: object) -> torch.Tensor:
            losses: torch.Tensor = 2 * self.module(*batch)
            return losses

    plain = assembled(parameters(dropout=0.0))
    place = WorkerRank(torch.device("cpu"), 1, wrap=Twice)
    wrapped = assemble(Sources(DISTILBERT, None, False), QA, parameters(dropout=0.0), few_rows(), place)
    (one,), (two,) = take_steps(plain, 0, 1), take_steps(wrapped, 0, 1)
    assert two.losses.tolist() == (2 * one.losses).tolist()
