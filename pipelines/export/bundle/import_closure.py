"""Which modules of ours a module imports, directly or through others, read from their source: nothing is imported."""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Module:
    """A module of ours."""

    name: str
    """Dotted."""
    file: Path
    is_package: bool

    @property
    def place(self) -> Path:
        """Where it lies below the folder of its top-level package's parent: `actors/engine/engine.py`."""
        parts = self.name.split(".")
        return Path(*parts, "__init__.py") if self.is_package else Path(*parts).with_suffix(".py")


@dataclass(frozen=True)
class Closure:
    """All that a module needs."""

    modules: tuple[Module, ...]
    """By name; the packages that hold them among them."""
    packages: frozenset[str]
    """Top-level names that are imported and are neither ours nor Python's."""


def import_closure(roots: Iterable[str], own: str) -> Closure:
    """The modules that `roots` import, themselves among them.

    Imports within functions count, those under `if TYPE_CHECKING` do not. What is imported by a name in a string is
    not seen: name it among the roots.

    Args:
        roots: dotted names of modules.
        own: the top-level package that is followed.

    Raises:
        ModuleNotFoundError: there is no such module, or one that is imported.
    """
    found: dict[str, Module] = {}
    packages: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        module = found[name] = _find(name)
        waiting += _parents(name)
        for imported, attributes in _imports(module):
            top = imported.partition(".")[0]
            if top == own:
                waiting.append(imported)
                waiting += [f"{imported}.{one}" for one in attributes if _file(f"{imported}.{one}") is not None]
            elif top not in sys.stdlib_module_names:
                packages.add(top)
    return Closure(tuple(found[name] for name in sorted(found)), frozenset(packages))


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:number]) for number in range(1, len(parts))]


def _find(name: str) -> Module:
    file = _file(name)
    if file is None:
        raise ModuleNotFoundError(f"there is no module {name}", name=name)
    return Module(name, file, file.name == "__init__.py")


def _file(name: str) -> Path | None:
    top, *rest = name.split(".")
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).parent.joinpath(*rest)
    files = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((file for file in files if file.is_file()), None)


def _imports(module: Module) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Modules that are imported, each with the names that are taken from it, which may be modules too."""
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    for node in _executed(ast.parse(module.file.read_bytes(), str(module.file))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            name = ".".join([*above, *([node.module] if node.module else [])])
            yield name, tuple(alias.name for alias in node.names)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below one, but for those that only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield other
                yield from _executed(other)
            continue
        yield child
        yield from _executed(child)


def _is_type_checking(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", None)) == "TYPE_CHECKING"
