"""What people call a model: one name in every protocol, answer, page and summary."""

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


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]
