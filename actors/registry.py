"""An implementation by its name: a built-in one, imported when asked for, or any other as `package.module:OBJECT`."""

from collections.abc import Collection, Mapping
from importlib import import_module
from typing import TypeVar

_Kind = TypeVar("_Kind")

RUNTIMES = {
    "torch": "actors.backends.pytorch.torch_runtime:RUNTIME",
    "onnxruntime": "actors.backends.converted.onnx_runtime:RUNTIME",
    "openvino": "actors.backends.converted.openvino_runtime:RUNTIME",
    "ctranslate2": "actors.backends.converted.ctranslate2_runtime:RUNTIME",
    "null": "actors.backends.null:RUNTIME",
}
"""Values of `model.backend`, each with the place of its `actors.backends.base.Runtime`."""

AUTO = "auto"
"""The value of `model.backend` that names none of them: it has to be settled before a model is looked for."""


def check_name(names: Collection[str], name: str) -> str:
    """The name, if it is one of the names that there are, or a place, `package.module:OBJECT`; nothing is imported.

    Raises:
        ValueError: it is neither; the message lists the names that there are.
    """
    module, _, attribute = name.partition(":")
    if name in names or all(part.isidentifier() for part in (*module.split("."), attribute)):
        return name
    raise ValueError(f"there is no {name!r}; there are {', '.join(names)}, or package.module:OBJECT")


def find_object(registry: Mapping[str, str], name: str, what: str) -> object:
    """The object that a name stands for, its module imported only now.

    Args:
        registry: built-in names, each with the place of its object, `package.module:OBJECT`.
        name: one of them, or such a place: so a package of one's own adds an implementation without an edit here,
            and every process of a cluster that has the package finds it.
        what: the config key or thing that is named, for the error.

    Raises:
        LookupError: there is no such name, module or object; the message lists the names that there are.
    """
    try:
        module, _, attribute = registry.get(check_name(registry, name), name).partition(":")
    except ValueError as error:
        raise LookupError(f"{what}: {error}") from error
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"{what}: {module}:{attribute} cannot be imported: {error}") from error


def find_instance(registry: Mapping[str, str], name: str, what: str, kind: type[_Kind]) -> _Kind:
    """As `find_object`, of what has to be of one class.

    Raises:
        LookupError: also where the object is of another class.
    """
    found = find_object(registry, name, what)
    if not isinstance(found, kind):
        wanted = f"{kind.__module__}.{kind.__qualname__}"
        raise LookupError(f"{what}: {name} is a {type(found).__name__} and no {wanted}")
    return found
