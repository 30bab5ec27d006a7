"""`spanmill finetune`: trains a base model on examples with Ray Train, and writes a model folder."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from actors.models.hub import fingerprint, from_anywhere
from actors.models.loading import load_spec
from actors.tokenization.preprocess import qa_window_size
from actors.training.checkpoint_state import load_state
from actors.training.setup import Sources, load_student
from actors.training.student import save
from pipelines.config.training import FinetuneConfig
from pipelines.errors import JobError, StorageError
from pipelines.evaluation.squad import SkippedRows
from pipelines.storage.filesystem import Store, resolve, write_atomic
from pipelines.storage.url import Url
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.dataset import TrainingData, read_training_data
from pipelines.training.messages import HeldOutScores
from pipelines.training.model_card import Card, render_card
from pipelines.training.rank_zero import read_history
from pipelines.training.run_manifest import COMPLETE, TrainingManifest, bind_training, release_training
from pipelines.training.worker import find_sources

Fit = Callable[[FinetuneConfig, TrainingData, Checkpoints, Console], tuple[SkippedRows, ...]]
"""Takes the steps of a run and leaves its last checkpoint; `pipelines.training.ray_trainer.fit` is the usual one."""


@dataclass(frozen=True)
class Trained:
    """The result of a run."""

    store: Store
    history: tuple[HeldOutScores, ...]
    """Scores on the held-out rows, from the base to the last step; empty where nothing is held out."""
    was_complete: bool
    """True where an earlier call had finished the run, so that this one did nothing."""


def finetune(
    config: FinetuneConfig,
    inputs: Sequence[str],
    output: str,
    overwrite: bool,
    console: Console,
    fit: Fit | None = None,
) -> Trained:
    """Trains a model, or resumes where an earlier call stopped.

    Args:
        fit: what takes the steps; None means Ray Train.

    Raises:
        SpanmillError, ModelError: the run cannot be finished; the message says why.
    """
    store = resolve(output, config.output.storage)
    sources = _check_models(config)
    data = read_training_data(inputs, config.data)
    for warning in data.warnings:
        console.print(warning, style="yellow")
    teacher = None if sources.teacher is None else fingerprint(sources.teacher, "torch")
    manifest = TrainingManifest.of(config, fingerprint(sources.base, "torch"), teacher, data.files, len(data.held_out))
    checkpoints = _open_checkpoints(config, store, manifest)
    if bind_training(store, manifest, overwrite):
        return Trained(store, (), was_complete=True)
    if overwrite:
        checkpoints.clear()
    with _nothing_left_of_a_failed_start(store, checkpoints):
        left_out = (fit or _on_ray())(_located(config), data, checkpoints, console)
    history = read_history(checkpoints)
    _write(store, config, sources, checkpoints, Card.of(config, data, left_out, history))
    checkpoints.clear()
    return Trained(store, tuple(history), was_complete=False)


def _on_ray() -> Fit:
    # Not before here: a run in one process needs no Ray.
    from pipelines.training.ray_trainer import fit

    return fit


@contextmanager
def _nothing_left_of_a_failed_start(store: Store, checkpoints: Checkpoints) -> Iterator[None]:
    """Unbinds OUTPUT from a run that fails before its first checkpoint, so that it is free for corrected settings."""
    try:
        yield
    except BaseException:
        # The first error matters more than one of the store while cleaning up.
        with suppress(StorageError):
            if not checkpoints.names():
                checkpoints.clear()
                release_training(store)
        raise


def _check_models(config: FinetuneConfig) -> Sources:
    """Finds base and teacher, and raises what is wrong with them before a cluster starts."""
    sources = find_sources(config)
    qa_window_size(load_spec(sources.base), config.qa)
    if sources.teacher is not None:
        load_spec(sources.teacher)
    return sources


def _open_checkpoints(config: FinetuneConfig, output: Store, manifest: TrainingManifest) -> Checkpoints:
    chosen = config.checkpoints
    if chosen.url is None:
        folder = Store(Url(f"{output.url.with_secrets}/_checkpoints"), output.options)
        return Checkpoints(folder, manifest.run8, owns_folder=True)
    return Checkpoints(resolve(chosen.url, chosen.storage or config.output.storage), manifest.run8)


def _located(config: FinetuneConfig) -> FinetuneConfig:
    """The config with absolute paths of local model folders, because workers have other working directories."""
    named = {
        key: source.model_copy(update={"name": from_anywhere(source.name)})
        for key, source in (("base", config.base), ("teacher", config.teacher))
        if source is not None
    }
    return config.model_copy(update=named)


def _write(store: Store, config: FinetuneConfig, sources: Sources, checkpoints: Checkpoints, card: Card) -> None:
    found = checkpoints.latest()
    if found is None:
        raise JobError(
            f"{checkpoints.store.url}: the last checkpoint is not there. Where workers run on other machines, set "
            "checkpoints.url to a store that all reach; else somebody removed it, and the same command makes it again"
        )
    student = load_student(sources, config.training.seed)
    load_state(found[1], student, None, found[0])
    with tempfile.TemporaryDirectory(prefix="spanmill-") as scratch:
        folder = Path(scratch)
        save(student, sources.base, folder, config.output.dtype)
        (folder / "README.md").write_text(render_card(card), encoding="utf-8")
        names = sorted((path.name for path in folder.iterdir()), key=lambda name: name == COMPLETE)
        for name in names:
            write_atomic(store.fs, store.path(name), (folder / name).read_bytes())
