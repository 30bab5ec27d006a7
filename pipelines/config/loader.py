"""Loads a config from a YAML file and KEY=VALUE overrides; errors name the key, and the nearest one that exists."""

import difflib
import re
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from pipelines.config.secrets import HIDDEN, hidden
from pipelines.errors import ConfigError

C = TypeVar("C", bound=BaseModel)

_UNBROKEN = 1 << 20
"""Columns: a value is one line."""


def load_config(
    kind: type[C], file: Path | None, overrides: Sequence[str], otherwise: Mapping[str, object] | None = None
) -> C:
    """Reads the file, applies the overrides (`qa.top_k=3`, the value in YAML), and checks every key.

    Args:
        otherwise: values by dotted key, of keys that neither the file nor an override has.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown, or a value is invalid.
    """
    _refuse_ignored(kind, overrides)
    tree = {} if file is None else _read(file)
    for override in overrides:
        _override(tree, override)
    for key, value in (otherwise or {}).items():
        _fill(tree, key, value)
    return check_config(kind, tree, "the config" if file is None else str(file))


def _refuse_ignored(kind: type[BaseModel], overrides: Sequence[str]) -> None:
    """Raises ConfigError where an override is of a group that the config takes no notice of.

    A file may be that of the whole job, of which a command needs a part; who writes a key by hand wants its effect.
    """
    if kind.model_config.get("extra") != "ignore":
        return
    for override in overrides:
        key = override.partition("=")[0]
        if key.partition(".")[0] not in kind.model_fields:
            groups = ", ".join(kind.model_fields)
            raise ConfigError(f"--set {key}: unknown key {key}{_nearest(kind, key)} (groups here: {groups})")


def check_config(kind: type[C], tree: Mapping[str, object], source: str = "the config") -> C:
    """Checks every key of a config that is mappings within a mapping already.

    A key that wants a list takes a single text, too: `carry: title` is `carry: [title]`.

    Args:
        source: where it comes from, for errors.

    Raises:
        ConfigError: a key is unknown, or a value is invalid.
    """
    try:
        return kind.model_validate(_with_lists(kind, tree))
    except ValidationError as error:
        lines = "\n".join(f"  {_explain(kind, problem)}" for problem in error.errors())
        raise ConfigError(f"{source} cannot be used:\n{lines}") from error


def list_keys(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, object]]:
    """Every key of a config as (dotted key, documentation, default)."""
    for name, field in kind.model_fields.items():
        nested = _nested(field.annotation)
        if nested is None:
            yield f"{prefix}{name}", field.description or "", field.get_default(call_default_factory=True)
        else:
            yield from list_keys(nested, f"{prefix}{name}.")


def _with_lists(kind: type[BaseModel], tree: Mapping[str, object]) -> dict[str, object]:
    """The tree with a list of one in the place of every text where a list is wanted.

    A text with a comma may be meant as several, or as one whose name has a comma: that is for its writer to say.
    """
    found = dict(tree)
    for name, field in kind.model_fields.items():
        value, nested = found.get(name), _nested(field.annotation)
        entry = _entry(field.annotation)
        if entry is not None and isinstance(value, list):
            found[name] = [_with_lists(entry, one) if isinstance(one, Mapping) else one for one in value]
        elif nested is not None and isinstance(value, Mapping):
            found[name] = _with_lists(nested, value)
        elif isinstance(value, str) and "," not in value and get_origin(field.annotation) in (tuple, list):
            found[name] = [value]
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        tree = _parsed(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not YAML: {_why_no_yaml(error)}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: a config is a mapping of keys, this is a {type(tree).__name__}")
    return in_groups(tree)


def in_groups(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree, changed so that a key with dots stands in its group.

    Messages name keys with dots, and whoever copies a line of them into a file or call means the same.
    """
    for key in [key for key in tree if isinstance(key, str) and "." in key]:
        _put(tree, key, tree.pop(key))
    return tree


def _parsed(text: str) -> Any:
    return yaml.load(text, _Loader)


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    shown = f"--set {override if hidden(text, key) == text else f'{key}={HIDDEN}'}"
    if not equals or not key:
        raise ConfigError(f"{shown}: write it as key=value, for example --set qa.top_k=3")
    try:
        value = _parsed(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{shown}: the value is not YAML: {_why_no_yaml(error)}") from error
    _put(tree, key, value)


def _why_no_yaml(error: Exception) -> str:
    """What is wrong and where, without the line itself, which may hold a secret."""
    mark = getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return " ".join(str(error).split())
    words = " ".join(part for part in (error.context, error.problem) if part)
    return f"{words}, in line {mark.line + 1}, column {mark.column + 1}"


def _put(tree: dict[str, Any], key: str, value: object) -> None:
    *groups, leaf = key.split(".")
    for group in groups:
        inner = tree.get(group)
        if not isinstance(inner, dict):
            inner = tree[group] = {}
        tree = inner
    # Options of one store, credentials among them, are not to be mixed with those of another.
    tree[leaf] = value if leaf == "storage" else _joined(tree.get(leaf), value)


def _fill(tree: dict[str, Any], key: str, value: object) -> None:
    """Puts a value where there is none yet."""
    *groups, leaf = key.split(".")
    for group in groups:
        tree = tree.setdefault(group, {})
        if not isinstance(tree, dict):
            # No group, which `check_config` says.
            return
    tree.setdefault(leaf, value)


def _joined(old: object, new: object) -> object:
    """A mapping joins the one that is there, key by key; an empty one empties it, all else replaces it."""
    if not (isinstance(old, dict) and isinstance(new, dict) and new):
        return new
    return {**old, **{key: _joined(old.get(key), value) for key, value in new.items()}}


class _Loader(yaml.SafeLoader):
    """YAML in which a key that is there twice is an error: the first one would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[object] = set()
        for key_node, _ in node.value:
            key = (key_node.tag, key_node.value) if isinstance(key_node, yaml.ScalarNode) else id(key_node)
            if key in keys:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"{key_node.value!r} is there twice, again in line {line}; make one of both")
            keys.add(key)
        return super().construct_mapping(node, deep)


def _explain(kind: type[BaseModel], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key}{_nearest(kind, key)}"
    if not key:
        return message
    value = problem["input"]
    if problem["type"] == "literal_error" and isinstance(value, str):
        message += _nearest_value(value, str(problem["ctx"]["expected"]))
    if problem["type"] in ("tuple_type", "list_type"):
        return f"{key}: a list is wanted, even of one (got {hidden(value, key)!r}); {_as_list(key, value)}"
    return f"{key}: {message} (got {hidden(value, key)!r})"


def _as_list(key: str, value: object) -> str:
    """How a value that is no list is written as one."""
    if value is None:
        return f"an empty one is --set '{key}=[]', or {key}: [] in a file"
    words = "[..., ...]"
    if not isinstance(value, Mapping):
        words = _yaml_value([item.strip() for item in str(hidden(value, key)).split(",")])
    return f"write --set {shlex.quote(f'{key}={words}')}, or {key}: {words} in a file"


def _nearest(kind: type[BaseModel], key: str) -> str:
    known = [name for name, _, _ in list_keys(kind)]
    groups = {name.rpartition(".")[0] for name in known} - {""}
    by_leaf = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    near = by_leaf or difflib.get_close_matches(key, [*known, *groups], n=1, cutoff=0.4)
    return f"; the nearest is {near[0]}" if near else ""


def _nearest_value(value: str, expected: str) -> str:
    """As `_nearest`, of the values that pydantic lists: `'exact', 'fast' or 'auto'`."""
    near = difflib.get_close_matches(value, re.findall(r"'([^']+)'", expected), n=1)
    return f"; the nearest is {near[0]}" if near else ""


def _entry(annotation: Any) -> type[BaseModel] | None:
    """The group that each entry of a list is; None where it is no list of groups."""
    return _group(get_args(annotation)) if get_origin(annotation) in (tuple, list) else None


def _nested(annotation: Any) -> type[BaseModel] | None:
    """The group that a key holds, or may hold; None where it holds none, or several."""
    holds_several = get_origin(annotation) in (tuple, list, dict)
    return None if holds_several else _group((annotation, *get_args(annotation)))


def _group(candidates: Iterable[Any]) -> type[BaseModel] | None:
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def changed_keys_of(config: BaseModel) -> dict[str, object]:
    """What of a config is not at its default, as nested mappings of what JSON has.

    A group that is null by default and there now is in it, and where all its keys are at their defaults, empty.
    """
    values = config.model_dump(mode="json")
    changed: dict[str, object] = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if value != field.get_default(call_default_factory=True):
            changed[name] = changed_keys_of(value) if isinstance(value, BaseModel) else values[name]
    return changed


def changed_yaml(config: BaseModel) -> str:
    """The keys of a config that are not at their defaults, as a file that `load_config` reads, without secrets."""
    changed = hidden(changed_keys_of(config))
    if not changed:
        return "# every key is at its default\n"
    return yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)


def as_yaml(kind: type[BaseModel], indent: str = "", config: BaseModel | None = None) -> str:
    """A commented config with every key; keys of groups that are null are commented out, and secrets are `***`.

    Args:
        config: whose values are shown; None shows the defaults.
    """
    lines = []
    for name, field in kind.model_fields.items():
        nested = _nested(field.annotation)
        lines += [f"{indent}# {line}" for line in textwrap.wrap(field.description or "", 110 - len(indent))]
        default = field.get_default(call_default_factory=True) if config is None else getattr(config, name)
        if nested is None:
            lines.append(f"{indent}{name}: {_yaml_value(hidden(to_jsonable_python(default), name))}")
        elif default is None:
            body = as_yaml(nested, f"{indent}  ").splitlines()
            lines += [f"{indent}{name}: null", *(f"{indent}#{line.removeprefix(indent)}" for line in body)]
        else:
            inner = default if config is not None else None
            lines += [f"{indent}{name}:", *as_yaml(nested, f"{indent}  ", inner).splitlines()]
        if not indent:
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _yaml_value(value: object) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=_UNBROKEN).removesuffix("...\n").strip()
