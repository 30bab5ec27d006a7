"""A teacher of another tokenizer: what it reads, and its distributions over the student's tokens."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from actors.models.loading import load_spec
from actors.parameters import QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.training.dataset import Pairs, PairTensors
from actors.training.distillation.teacher import TeacherTensors
from actors.training.objective import LOSSES
from actors.training.setup import answer_places
from tests.actors.helpers import GOLDEN, MODELS, word_spec, words
from tests.actors.training.helpers import (
    BERT,
    CPU,
    DISTILBERT,
    QA,
    assembled,
    few_rows,
    golden_rows,
    parameters,
    same_bits,
    table,
    take_steps,
    weights,
)

SPECS = {name: load_spec(GOLDEN / "models" / name) for name in MODELS} | {
    "short": replace(load_spec(BERT), max_length=40),
    "passage first": word_spec(cls_at_the_end=True),
}
TAUGHT = LOSSES.index("teacher")


def _pairs(base: EncoderSpec, teacher: EncoderSpec, *rows: tuple[str, str, str | None], size: int = 64) -> Pairs:
    examples = table(rows)
    qa = QAParameters(max_seq_len=size, doc_stride=size // 4)
    return Pairs.make(base, qa, examples, *answer_places(examples), teacher)[0]


def _take(pairs: Pairs, *chosen: int) -> tuple[PairTensors, TeacherTensors]:
    positions = np.array(chosen) if chosen else np.arange(len(pairs.lengths))
    batch = PairTensors.take(pairs, positions, CPU)
    assert batch.teacher is not None
    return batch, batch.teacher


def _random(read: TeacherTensors, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    start, end = (3 * torch.randn(read.allowed.shape, generator=generator) for _ in range(2))
    return start, end


@pytest.mark.parametrize("teacher", SPECS)
@pytest.mark.parametrize("base", MODELS)
@settings(max_examples=20)
@given(seed=st.integers(0, 1000), picked=st.sets(st.integers(0, 1000), min_size=1, max_size=5))
def test_no_mass_is_lost_and_none_goes_where_no_answer_may_be(
    base: str, teacher: str, seed: int, picked: set[int]
) -> None:
    pairs = _made(base, teacher)
    chosen = [number % len(pairs.lengths) for number in picked]
    batch, read = _take(pairs, *chosen)
    assert pairs.teacher is not None
    unread = torch.from_numpy(pairs.teacher.unread[chosen])
    for found in read.distributions(*_random(read, seed), temperature=2.0):
        assert found.shape == batch.allowed.shape
        torch.testing.assert_close(found.sum(dim=-1), (~unread).float())
        assert bool((found[~batch.allowed] == 0).all())
        assert bool((found >= 0).all())


_MADE: dict[tuple[str, str], Pairs] = {}


def _made(base: str, teacher: str) -> Pairs:
    """Tokenised once for all examples of hypothesis."""
    if (base, teacher) not in _MADE:
        _MADE[base, teacher] = _pairs(SPECS[base], SPECS[teacher], *golden_rows())
    return _MADE[base, teacher]


@pytest.mark.parametrize("name", MODELS)
def test_with_one_tokenizer_a_teacher_reads_the_student_s_windows_and_is_copied(name: str) -> None:
    pairs = _made(name, name)
    batch, read = _take(pairs, *range(0, len(pairs.lengths), 3))
    assert read.inputs.keys() == batch.inputs.keys()
    assert all(torch.equal(read.inputs[key], batch.inputs[key]) for key in read.inputs)
    logits = _random(read)
    for found, given_ in zip(read.distributions(*logits, temperature=2.0), logits, strict=True):
        expected = torch.softmax((given_ / 2.0).masked_fill(~batch.allowed, float("-inf")), dim=-1)
        torch.testing.assert_close(found, expected)


def _renumbered(folder: Path) -> Path:
    """The small DistilBERT, every word of which has another id, and its embedding moved with it."""
    shutil.copytree(DISTILBERT, folder)
    (folder / "vocab.txt").unlink()
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    special = {token["id"] for token in tokenizer["added_tokens"]}
    moved = np.array(sorted(set(vocabulary.values()) - special))
    new = np.arange(max(vocabulary.values()) + 1)
    new[moved] = np.random.default_rng(3).permutation(moved)
    tokenizer["model"]["vocab"] = {word: int(new[old]) for word, old in vocabulary.items()}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    rows = tensors[name].clone()
    rows[torch.from_numpy(new)] = tensors[name][: len(new)]
    save_file(tensors | {name: rows}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_teacher_of_other_token_ids_teaches_the_same(tmp_path: Path) -> None:
    """The same model twice, once with its vocabulary in another order: equal losses, and in the end equal weights."""
    chosen = parameters(distillation={"weight": 0.8}, dropout=0.0)
    other = _renumbered(tmp_path / "teacher")
    assert load_spec(other).tokenizer_json != load_spec(DISTILBERT).tokenizer_json
    same, renumbered, student = (
        assembled(chosen, base=_halved_head(tmp_path), teacher=teacher) for teacher in (DISTILBERT, other, None)
    )
    taught = [step.losses for step in take_steps(renumbered, 0)]
    np.testing.assert_allclose(taught, [step.losses for step in take_steps(same, 0)], atol=2e-5)
    assert min(losses[TAUGHT] for losses in taught) > 0.01
    for name, weight in weights(same).items():
        torch.testing.assert_close(weights(renumbered)[name], weight, atol=2e-4, rtol=1e-3)
    take_steps(student, 0)
    assert not same_bits(weights(student), weights(same))


def _halved_head(folder: Path) -> Path:
    """A student that does not know yet what its teacher knows."""
    student = folder / "student"
    if not student.exists():
        shutil.copytree(DISTILBERT, student)
        tensors = load_file(student / "model.safetensors")
        tensors["qa_outputs.weight"] *= -0.5
        save_file(tensors, student / "model.safetensors", metadata={"format": "pt"})
    return student


def test_a_teacher_of_bytes_teaches_a_student_of_word_pieces() -> None:
    """Without labels' share: the student moves towards distributions that its teacher gave over other tokens."""
    chosen = parameters(distillation={"weight": 1.0}, dropout=0.0, epochs=6.0)
    setup = assembled(chosen, teacher=GOLDEN / "models" / "roberta")
    losses = [float(step.losses[TAUGHT]) for step in take_steps(setup, 0)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_a_teacher_that_takes_fewer_tokens_reads_several_windows() -> None:
    base, rows = SPECS["bert"], golden_rows()
    whole, short = (_pairs(base, teacher, *rows) for teacher in (base, SPECS["short"]))
    assert whole.teacher is not None
    assert short.teacher is not None
    assert len(short.teacher.prepared.windows) > len(whole.teacher.prepared.windows) == len(whole.lengths)
    assert int(short.teacher.prepared.lengths(base.pair.specials).max()) <= 40
    # Every token of every window of the student is read, and no other.
    windows, ours = short.teacher.prepared.windows, short.prepared.windows
    for position in range(len(ours)):
        mine = windows.owner == position
        read = {t for a, b in zip(windows.first[mine], windows.stop[mine], strict=True) for t in range(a, b)}
        assert read == set(range(ours.first[position], ours.stop[position]))


def test_a_word_has_the_mean_of_its_windows_and_abstaining_the_least() -> None:
    """A window of six words, which the teacher reads in two of four: w0 to w3, and w2 to w5."""
    pairs = _pairs(word_spec(), word_spec(max_length=8), ("w1", words(range(6)), "w2"))
    assert pairs.teacher is not None
    windows = pairs.teacher.prepared.windows
    assert (windows.first.tolist(), windows.stop.tolist()) == ([0, 2], [4, 6])
    batch, read = _take(pairs)
    # The first window abstains with 0.9, the second with 0.2; their words have equal shares of the rest.
    logits = torch.log(torch.tensor([[0.9, 1, 1, *[0.025] * 4, 1], [0.2, 1, 1, *[0.2] * 4, 1]]))
    found = read.distributions(logits, logits, temperature=1.0)
    expected = torch.tensor([0.2, 0.025, 0.025, 0.1125, 0.1125, 0.2, 0.2])
    for distribution in found:
        torch.testing.assert_close(distribution[batch.allowed], expected / expected.sum())


def test_the_mass_on_a_cls_token_at_the_end_goes_to_the_student_s_at_the_front() -> None:
    pairs = _pairs(word_spec(), SPECS["passage first"], ("w1 w2", "w3 w4", None))
    batch, read = _take(pairs)
    logits = torch.zeros(read.allowed.shape)
    # w3 w4 [SEP] w1 w2 [SEP] [CLS]
    logits[0, 6], logits[0, 1] = 2.0, 1.0
    found = read.distributions(logits, logits, temperature=1.0)[0][0]
    expected = torch.softmax(torch.tensor([2.0, 0.0, 1.0]), dim=0)
    torch.testing.assert_close(found[batch.allowed[0]], expected)
    assert int(found.argmax()) == 0


def _without_cls(spec: EncoderSpec) -> EncoderSpec:
    return replace(spec, pair=replace(spec.pair, cls_in_prefix=None, cls_in_suffix=None))


@pytest.mark.parametrize("who", ["teacher", "student"])
def test_where_one_of_them_cannot_abstain(who: str) -> None:
    """What the other has for it is shared out among the words in the proportion that they have."""
    base, teacher = word_spec(), word_spec()
    base, teacher = (base, _without_cls(teacher)) if who == "teacher" else (_without_cls(base), teacher)
    batch, read = _take(_pairs(base, teacher, ("w1", "w3 w4", "w3")))
    logits = torch.zeros(read.allowed.shape)
    logits[0, 0], logits[0, 3] = 5.0, 1.0
    found = read.distributions(logits, logits, temperature=1.0)[0][0]
    torch.testing.assert_close(found[3:5], torch.softmax(torch.tensor([1.0, 0.0]), dim=0))
    assert float(found[0]) == 0.0
    assert int(batch.allowed.sum()) == (3 if who == "teacher" else 2)


def test_however_sure_a_teacher_is_of_no_answer_its_student_learns_where_it_would_have_answered() -> None:
    """A student that cannot abstain has windows with an answer only: the teacher is wrong, and may know where it is."""
    batch, read = _take(_pairs(_without_cls(word_spec()), word_spec(), ("w1", "w3 w4 w5", "w3")))
    for sure in (0.0, 10.0, 60.0):
        logits = torch.zeros(read.allowed.shape)
        logits[0, 0], logits[0, 3] = sure, 2.0
        found = read.distributions(logits, logits, temperature=1.0)[0][0]
        torch.testing.assert_close(found[batch.allowed[0]], torch.softmax(torch.tensor([2.0, 0.0, 0.0]), dim=0))


def test_a_teacher_that_cannot_abstain_teaches_nothing_where_there_is_no_answer() -> None:
    rows = (("w1", "w3 w4", None), ("w1", "w5 w6", "w5"))
    pairs = _pairs(word_spec(), _without_cls(word_spec()), *rows)
    assert pairs.teacher is not None
    assert pairs.teacher.unread.tolist() == [True, False]
    _, read = _take(pairs)
    torch.testing.assert_close(read.distributions(*_random(read), temperature=2.0)[0].sum(-1), torch.tensor([0.0, 1.0]))
    assert not _pairs(word_spec(), word_spec(), *rows).teacher.unread.any()  # type: ignore[union-attr]


def test_what_a_teacher_cannot_read_is_learnt_from_labels_alone() -> None:
    """Its question fills the teacher's window; the other window of the batch is taught all the same."""
    teacher = replace(SPECS["bert"], max_length=16)
    rows = (("Who keeps three goats in Brindle by the old mill of the dyer?", "Ada keeps goats.", "Ada"),)
    pairs = _pairs(SPECS["bert"], teacher, *rows, ("Who?", "Ada keeps goats.", "Ada"))
    assert pairs.teacher is not None
    assert pairs.teacher.unread.tolist() == [True, False]
    _, read = _take(pairs)
    start, _ = read.distributions(*_random(read), temperature=2.0)
    torch.testing.assert_close(start.sum(dim=-1), torch.tensor([0.0, 1.0]))
    assert PairTensors.take(pairs, np.array([0]), CPU).teacher is None


def test_labels_by_way_of_another_tokenizer_are_the_student_s_labels() -> None:
    """A teacher that is sure of the gold answer's first and last token makes the student sure of its own.

    In passages without blanks at their ends, so that the teacher's windows are those which it would have by itself.
    """
    rows = [row for row in golden_rows() if row[2] and row[2].replace(" ", "").isalpha()]
    rows = [row for row in rows if len(row[1]) < 700 and row[1] == row[1].strip()]
    for teacher in ("distilbert", "roberta"):
        pairs, theirs = (_pairs(SPECS[base], SPECS[teacher], *rows, size=512) for base in ("bert", teacher))
        assert len(pairs.lengths) == len(theirs.lengths)
        batch, read = _take(pairs)
        gold, _ = _take(theirs)
        sure = [torch.nn.functional.one_hot(at, read.allowed.shape[1]) * 40.0 for at in (gold.first, gold.last)]
        start, end = read.distributions(sure[0], sure[1], temperature=1.0)
        every = torch.arange(len(start))
        assert float(start[every, batch.first].min()) > 0.99
        assert float(end[every, batch.last].min()) > 0.99


def test_the_steps_of_a_run_take_what_a_teacher_reads() -> None:
    """The keys of the windows are those of the run, whatever the teacher takes."""
    setup = assembled(parameters(dropout=0.0), few_rows(), teacher=BERT)
    assert setup.loop.pairs.teacher is not None
    assert 0 < setup.loop.pairs.teacher.exact_share < 1
    (step,) = take_steps(setup, 0, 1)
    assert step.losses[TAUGHT] > 0
    assert QA.max_seq_len == 64
