"""Writes the forms of a model into one folder, one after the other, and keeps those that are what they should be."""

import errno
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from actors.backends.exported import ExportedFile, ExportedForm, LeftOutForm
from actors.backends.fingerprint import file_digest
from actors.cache import is_full
from actors.errors import ModelError, first_line
from actors.export.form import ExportForm, ExportTools
from pipelines.export.choice import Step
from pipelines.export.figures import Figures
from pipelines.export.publishing import Say

Check = Callable[[ExportForm, str], Figures]
"""Compares a form that was written, in a precision, with torch. Raises ModelError where it is beyond its tolerance."""
Outcome = ExportedForm | LeftOutForm

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors after which no other form can be written either."""


@dataclass(frozen=True)
class Assembly:
    """A folder that forms are written into."""

    model: Path
    """The folder of the model."""
    output: Path
    """The folder that is written; files are named relative to it."""
    with_qa_head: bool
    tools: ExportTools
    check: Check
    say: Say

    def write(self, steps: Sequence[Step]) -> tuple[tuple[ExportedForm, ...], tuple[LeftOutForm, ...]]:
        """Writes forms and checks them; the files of one that fails are removed, and the others go on.

        Args:
            steps: the base first; those of a form next to each other, float32 before the rest.

        Returns:
            What the folder holds, and what it was to hold and does not.

        Raises:
            ModelError: the base cannot be written, or is not what torch computes.
            OSError: the disk is full, or cannot be written to.
        """
        numbered, outcomes = enumerate(steps, 1), list[Outcome]()
        for _, group in groupby(numbered, key=lambda one: one[1].name):
            outcomes += self._write_form([(f"{number} of {len(steps)}: {step}", step) for number, step in group])
        return (
            tuple(one for one in outcomes if isinstance(one, ExportedForm)),
            tuple(one for one in outcomes if isinstance(one, LeftOutForm)),
        )

    def _write_form(self, steps: Sequence[tuple[str, Step]]) -> list[Outcome]:
        """The steps of one form, each with what it is called in lines for people."""
        outcomes, unwanted, is_broken = list[Outcome](), list[Path](), False
        for head, step in steps:
            files = list[Path]()
            try:
                if is_broken:
                    raise ModelError("not tried, since its first precision could not be written")
                files = self._written(head, step)
                if step.is_kept:
                    outcomes.append(self._compared(head, step, files))
                else:
                    unwanted += files
            except Exception as error:  # forms, also those of other packages, raise their own kinds
                outcomes.append(self._left_out(head, step, error))
                unwanted += files
                is_broken = is_broken or (step is steps[0][1] and not files)
        # Not before: other precisions may be made of them.
        self._remove(unwanted)
        return outcomes

    def _written(self, head: str, step: Step) -> list[Path]:
        """Its files; whatever else it wrote is removed, and all of it where it fails."""
        self.say(f"{head}: writing")
        before, found, started = set(self._files()), list[Path](), time.monotonic()
        try:
            step.form.write(self.model, self.output, step.precision, self.with_qa_head, self.tools)
            found = step.form.found(self.output, step.precision)
            if not found:
                raise ModelError(f"it wrote none of its files: {', '.join(step.form.files(step.precision))}")
        except Exception as error:
            # Looked at before what was written is removed.
            if self._is_for_want_of_room(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise
        finally:
            # Beside the base lie config and tokenizer.
            if not (step.is_base and found):
                self._remove(set(self._files()) - before - set(found))
        for file in found:
            # safetensors keeps its files from everybody but their owner.
            file.chmod(self.output.stat().st_mode & 0o666)
        self.say(f"{head}: written in {time.monotonic() - started:.1f} s")
        return found

    def _compared(self, head: str, step: Step, files: Sequence[Path]) -> ExportedForm:
        self.say(f"{head}: comparing with torch")
        started = time.monotonic()
        figures = self.check(step.form, step.precision)
        form = ExportedForm(step.name, step.precision, tuple(map(self._described, files)), figures)
        self.say(f"{head}: kept, {form.bytes / 1e6:,.1f} MB, compared in {time.monotonic() - started:.1f} s")
        return form

    def _left_out(self, head: str, step: Step, error: Exception) -> LeftOutForm:
        """What is told of a form that failed; raises where no other form could do better."""
        if isinstance(error, OSError) and error.errno in _DISK:
            raise error
        reason = self._without_places(first_line(error))
        if step.is_base:
            raise ModelError(f"{step}, which all else is made of and checked against: {reason}") from error
        if not isinstance(error, ModelError):
            reason = f"{type(error).__name__}: {reason}"
        self.say(f"{head}: NOT KEPT: {reason}")
        return LeftOutForm(step.name, step.precision, reason)

    def _without_places(self, said: str) -> str:
        """What is said, for the card, which others read: not where folders lie on this machine."""
        for place, name in ((f"{self.output}/", ""), (f"{self.output}: ", ""), (str(self.model), self.model.name)):
            said = said.replace(place, name)
        return said

    def _is_for_want_of_room(self, error: Exception) -> bool:
        """Whether the disk is full: packages that are not Python's say so in words, or not at all."""
        if isinstance(error, OSError) and error.errno in _DISK:
            return False  # which says so itself
        return os.strerror(errno.ENOSPC) in str(error) or is_full(self.output)

    def _files(self) -> Iterable[Path]:
        return (path for path in self.output.rglob("*") if not path.is_dir())

    def _described(self, file: Path) -> ExportedFile:
        name = file.relative_to(self.output).as_posix()
        return ExportedFile(name, file.stat().st_size, file_digest(file).hex())

    def _remove(self, files: Iterable[Path]) -> None:
        """Removes files, and the folders that are empty then."""
        for file in files:
            file.unlink(missing_ok=True)
            for folder in file.parents:
                if folder == self.output or any(folder.iterdir()):
                    break
                folder.rmdir()
