"""An implementation by its name: a built-in one, imported when asked for, or any other as `package.module:OBJECT`."""

from collections.abc import Mapping
from importlib import import_module


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
    place = registry.get(name, name)
    module, colon, attribute = place.partition(":")
    if not colon:
        raise LookupError(f"{what}: there is no {name!r}; there are {', '.join(registry)}, or package.module:OBJECT")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"{what}: {place} cannot be imported: {error}") from error
