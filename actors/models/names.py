"""What people call a model: one name in every protocol, answer, page and summary."""

from collections.abc import Iterable, Mapping, Sequence

SHIPPED = "minilm-qa"
"""The model that comes with the package."""
SHIPPED_NAMES = (SHIPPED, f"models/{SHIPPED}")


def is_place(name: str) -> bool:
    """Whether a name in a config says where a model lies; otherwise it is a hub id, or a folder beside the process."""
    return "://" in name or name.startswith(("/", ".", "~", "models/")) or name.count("/") > 1


def public_name(name: str) -> str:
    """What clients call a model: a hub id as it is, a folder or URL by its last part.

    It looks at nothing but the name, so that gateway and replica, which may run on other machines, say the same.
    """
    return _last_part(name) if is_place(name) else name.rstrip("/")


def accepted_names(public: str) -> tuple[str, ...]:
    """The names that a client may ask for: the public one, its last part, and that in the folder models/."""
    last = _last_part(public)
    return public, last, f"models/{last}"


def public_names(publics: Sequence[str]) -> Mapping[str, str]:
    """The public name behind every name that clients of several models may ask for.

    A name that could be short for several of them is left out; a public name always means its own model.
    """
    meant: dict[str, set[str]] = {}
    for public in publics:
        for name in accepted_names(public):
            meant.setdefault(name, set()).add(public)
    clear = {name: next(iter(found)) for name, found in meant.items() if len(found) == 1}
    return clear | {public: public for public in publics}


def check_distinct(publics: Sequence[str]) -> None:
    """Checks that every name means one model, and so does every path that begins with a name.

    Raises:
        ValueError: two names are the same, or one is the beginning of another's path.
    """
    for index, public in enumerate(publics):
        if public in publics[:index]:
            raise ValueError(f"two models are called {public}; give one of them a `name` of its own")
        longer = next((name for name in publics if name.startswith(f"{public}/")), None)
        if longer is not None:
            raise ValueError(
                f"/models/{longer} could be a path of the model {public} or of {longer}; give one of them "
                "another `name`"
            )


def either(names: Iterable[str]) -> str:
    """Names as alternatives in a sentence: 'a', 'b' or 'c'."""
    *others, last = [repr(name) for name in names]
    return f"{', '.join(others)} or {last}" if others else last


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]
