"""Which forms of a model are written in which precisions, decided before anything is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.backends.precision import EXACT
from actors.export.form import FORMS, ExportForm, ExportTools, find_form
from actors.registry import check_name
from pipelines.errors import ConfigError

BASE = "safetensors"
"""The form that every export has, in float32: config, tokenizer and the weights that all others are checked against."""


@dataclass(frozen=True)
class Step:
    """A form in a precision, to be written and checked."""

    name: str
    """Of the form, as `--formats` names it."""
    form: ExportForm
    precision: str
    is_kept: bool = True
    """False for a float32 that nobody asked for, and that the form's other precisions are made of."""

    @property
    def is_base(self) -> bool:
        """Whether an export without it is none."""
        return (self.name, self.precision) == (BASE, EXACT)

    def __str__(self) -> str:
        return f"{self.form.name} {self.precision}"


@dataclass(frozen=True)
class Choice:
    """What is to be written, and what is not."""

    steps: tuple[Step, ...]
    """The base first; of each form float32 before the rest."""
    left_out: tuple[str, ...] = ()
    """Forms that nobody named and that are not written, each with the reason and what to do about it."""


def choose(
    formats: Sequence[str], precisions: Sequence[str], tools: ExportTools, folder: Path, model_type: str
) -> Choice:
    """The forms of an export.

    Args:
        formats: names, or places of forms of other packages; none takes all that can be written here.
        precisions: none takes all that each form has.
        folder: the model, for messages.
        model_type: as its config.json says.

    Raises:
        ConfigError: there is no form of a name, or its packages are not installed, or those of a precision of it that
            is named, too; no form has a precision that is named, or one that is named has none of them.
        ModelError: a form that is named cannot hold the model, or is none.
    """
    forms = {name: _find(name) for name in (formats or FORMS)}
    _check_precisions(list(forms.values()), precisions)
    left_out, chosen = list[str](), dict[str, ExportForm]()
    for name, form in forms.items():
        reason = _unfit(form, precisions, tools, folder, model_type, is_named=bool(formats))
        if reason is None:
            chosen[name] = form
        else:
            left_out.append(f"{form.name}: {reason}")
    steps = list[Step]()
    for name, form in {BASE: find_form(BASE), **chosen}.items():
        wanted, lacking = _writable(form, precisions if name in chosen else (EXACT,))
        if lacking and formats and precisions:
            raise ConfigError(f"--precision: {lacking[0]}")
        left_out += lacking
        steps += _steps(name, form, wanted)
    return Choice(tuple(steps), tuple(left_out))


def _find(name: str) -> ExportForm:
    try:
        check_name(FORMS, name)
    except ValueError as error:
        raise ConfigError(f"--formats: {error}") from error
    return find_form(name)


def _check_precisions(forms: Sequence[ExportForm], precisions: Sequence[str]) -> None:
    known = dict.fromkeys(precision for form in forms for precision in form.precisions)
    for precision in precisions:
        if precision not in known:
            raise ConfigError(f"--precision: no form has {precision!r}; there are {', '.join(known)}")


def _unfit(
    form: ExportForm, precisions: Sequence[str], tools: ExportTools, folder: Path, model_type: str, is_named: bool
) -> str | None:
    """Why a form is left out; None where it is not. What is named by hand is an error instead."""
    if is_named:
        form.check_kind(folder, model_type)
    if form.kinds is not None and model_type not in form.kinds:
        return f"it holds {', '.join(sorted(form.kinds))}, and this is a {model_type}"
    if lacks := form.lacking(tools):
        if is_named:
            raise ConfigError(f"--formats: {form.name}: {lacks}")
        return lacks
    if form.name != BASE and precisions and not set(precisions) & set(form.precisions):
        reason = f"it has {', '.join(form.precisions)} only"
        if is_named:
            raise ConfigError(f"--formats: {form.name} in {', '.join(precisions)}: {reason}")
        return reason
    return None


def _writable(form: ExportForm, precisions: Sequence[str]) -> tuple[list[str], list[str]]:
    """The precisions that are wanted of a form and can be written here; and why others that are wanted cannot be."""
    wanted = [one for one in form.precisions if not precisions or one in precisions]
    lacking = {one: lacks for one in wanted if (lacks := form.lacking_for(one))}
    reasons = [f"{form.name} in {one}: {why}" for one, why in lacking.items()]
    return [one for one in wanted if one not in lacking], reasons


def _steps(name: str, form: ExportForm, wanted: Sequence[str]) -> list[Step]:
    """Of one form, float32 first: the base always has it, and of others it is there for a while."""
    if not wanted and name != BASE:
        return []
    if EXACT in wanted or EXACT not in form.precisions:
        return [Step(name, form, one) for one in wanted]
    return [Step(name, form, EXACT, is_kept=name == BASE), *(Step(name, form, one) for one in wanted)]
