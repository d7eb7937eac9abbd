"""Class names into texts."""

from collections.abc import Sequence

from promptstill.errors import UsageError


def fill(template: str, name: str) -> str:
    """Put a class name into a template; underscores become spaces, as the papers do.

    Raises:
        UsageError: the template has no hole, or more than one.
    """
    if template.count("{}") != 1:
        raise UsageError(f"template {template!r} needs exactly one {{}} for the class name")
    return template.replace("{}", name.replace("_", " "))


def fill_all(templates: Sequence[str], names: Sequence[str]) -> list[str]:
    """Every template with every name, name after name."""
    return [fill(template, name) for name in names for template in templates]
