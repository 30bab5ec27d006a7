"""What a module needs, read from its source: every way to import, and nothing that is only for type checkers."""

import sys
from pathlib import Path

import pytest

from pipelines.export.bundle.import_closure import import_closure

SOURCES = {
    "toy/__init__.py": "import json\n",
    "toy/alone.py": "import toy.alone\n",
    "toy/root.py": "from toy.inner import leaf, VALUE\nimport numpy as np\n\n\ndef late():\n    import toy.late\n",
    "toy/late.py": "from . import beside\nfrom .inner import deep as it\nimport package.part\n",
    "toy/beside.py": "",
    "toy/inner/__init__.py": "VALUE = 1\n",
    "toy/inner/leaf.py": "try:\n    from ..optional import x\nexcept ImportError:\n    x = None\n",
    "toy/inner/deep.py": "",
    "toy/optional.py": "",
    "toy/typed.py": (
        "import typing\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import ray\n    import toy.beside\n"
        "else:\n    import toy.optional\nif typing.TYPE_CHECKING:\n    import toy.late\n"
    ),
    "toy/wrong.py": "import toy.nowhere\n",
    "toy/raises.py": "raise RuntimeError('nobody may import this')\n",
}


@pytest.fixture(autouse=True)
def _toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, source in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))


def _names(*roots: str) -> list[str]:
    return [module.name for module in import_closure(roots, own="toy").modules]


@pytest.mark.parametrize(
    ("root", "modules"),
    [
        ("toy.alone", ["toy", "toy.alone"]),
        ("toy.beside", ["toy", "toy.beside"]),
        ("toy.inner.leaf", ["toy", "toy.inner", "toy.inner.leaf", "toy.optional"]),
        ("toy.late", ["toy", "toy.beside", "toy.inner", "toy.inner.deep", "toy.late"]),
        ("toy.typed", ["toy", "toy.optional", "toy.typed"]),
        ("toy.raises", ["toy", "toy.raises"]),
    ],
)
def test_what_is_imported_comes_with_it(root: str, modules: list[str]) -> None:
    assert _names(root) == modules
    assert "toy" not in sys.modules


def test_what_others_import_and_where_it_lies(tmp_path: Path) -> None:
    closure = import_closure(["toy.root"], own="toy")
    assert closure.packages == {"numpy", "package"}
    assert {module.place.as_posix() for module in closure.modules} == {
        *("toy/__init__.py", "toy/root.py", "toy/late.py", "toy/beside.py", "toy/optional.py"),
        *("toy/inner/__init__.py", "toy/inner/leaf.py", "toy/inner/deep.py"),
    }
    assert all(module.file == tmp_path / module.place for module in closure.modules)


@pytest.mark.parametrize("root", ["toy.nowhere", "toy.wrong", "no_such_package.module"])
def test_a_module_that_is_not_there_is_an_error(root: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"there is no module (toy\.nowhere|no_such_package\.module)"):
        _names(root)
