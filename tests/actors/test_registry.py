"""Implementations by name."""

import sys

import pytest

from actors.registry import find_instance, find_object

BUILT_IN = {"path": "posixpath:join", "broken": "no_such_module_at_all:x"}


def test_a_built_in_name_is_imported_when_asked_for() -> None:
    import posixpath

    assert find_object(BUILT_IN, "path", "runtime") is posixpath.join


def test_an_object_of_another_package_is_found_by_its_place() -> None:
    assert find_object(BUILT_IN, "sys:maxsize", "runtime") == sys.maxsize


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pth", r"model\.backend: there is no 'pth'; there are path, broken, or package"),
        ("broken", r"model\.backend: no_such_module_at_all:x cannot be imported"),
        (":maxsize", r"model\.backend: there is no ':maxsize'; there are path"),
        ("sys:", r"model\.backend: there is no 'sys:'"),
        (".sys:maxsize", r"model\.backend: there is no '\.sys:maxsize'"),
        ("sys:nothing", r"model\.backend: sys:nothing cannot be imported"),
    ],
)
def test_what_is_not_there_is_named(name: str, message: str) -> None:
    with pytest.raises(LookupError, match=message):
        find_object(BUILT_IN, name, "model.backend")


def test_what_has_to_be_of_a_class_is() -> None:
    assert find_instance(BUILT_IN, "sys:maxsize", "model.backend", int) == sys.maxsize
    with pytest.raises(LookupError, match=r"model\.backend: sys:maxsize is a int and no builtins\.str"):
        find_instance(BUILT_IN, "sys:maxsize", "model.backend", str)
