"""Renders the Jinja templates that lie beside the modules of a package."""

from collections.abc import Callable, Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(
    package: str,
    template: str,
    values: Mapping[str, object],
    *,
    is_html: bool = False,
    filters: Mapping[str, Callable[..., object]] | None = None,
) -> str:
    """A template with its values; one that is not given is an error.

    Args:
        package: in whose folder the template lies, as `pipelines.export`.
        is_html: whether every text is escaped.
        filters: further filters that the template uses, by name.
    """
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=is_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= dict(filters or {})
    return environment.get_template(template).render(values)
