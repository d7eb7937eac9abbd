"""Groups of settings: frozen, closed, merged from presets, files and ``key=value`` texts, and validated at once."""

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from promptstill.errors import UsageError

CONFIG_LIMIT = 1_000_000  # bytes; a run's YAML is a few hundred


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


S = TypeVar("S", bound=Settings)


def resolve(
    kind: type[S],
    values: Mapping[str, Any],
    *,
    config: Path | None = None,
    base: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> S:
    """Merge base (a preset) < config file < given values < ``key=value`` overrides, and validate all at once.

    Raises:
        UsageError: one message that names every unknown key (with the nearest known one) and every bad value.
    """
    merged = _defaults(kind)
    for layer in (base or {}, read_config(config) if config else {}, values, *map(parse_override, overrides)):
        _merge(merged, layer)
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise UsageError("; ".join(_explain(kind, error))) from None


def read_config(path: Path) -> dict[str, Any]:
    """A YAML mapping, read as data only."""
    if not path.is_file():
        raise UsageError(f"config file {path} does not exist; give a YAML file such as a run's config.yaml")
    if path.stat().st_size > CONFIG_LIMIT:
        raise UsageError(f"config file {path} is over {CONFIG_LIMIT} bytes; a run's settings are a few hundred")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"config file {path} is no YAML of plain data: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise UsageError(f"config file {path} holds no mapping; write lines such as 'distill: {{epochs: 10}}'")
    return content


def parse_override(text: str) -> dict[str, Any]:
    """``stage.key=value`` -> ``{stage: {key: value}}``, the value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text!r} is not of the form stage.key=value")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UsageError(f"--set {text!r}: its value is no YAML; quote it, as in stage.key='...'") from None
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    return nested


def _defaults(kind: type[Settings]) -> dict[str, Any]:
    """The groups' own defaults in ``kind``, so that setting one key of a group leaves its other keys alone."""
    groups = {name: field.default for name, field in kind.model_fields.items() if isinstance(field.default, Settings)}
    return {name: group.model_dump() for name, group in groups.items()}


def _merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Settings):
            value = value.model_dump(exclude_unset=True)
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(dict(value)) if isinstance(value, Mapping) else value


def _explain(kind: type[Settings], error: ValidationError) -> Iterator[str]:
    inside = {item["loc"][:-1] for item in error.errors()}
    for item in error.errors():
        if item["type"] == "too_short" and item["loc"] in inside:
            continue  # it is too short because of a mistake in it
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(where, list(_keys(kind)), n=1, cutoff=0.4)
            yield f"{where} is unknown" + (f" (did you mean {near[0]}?)" if near else "")
        elif item["type"] == "missing":
            yield f"{where} is missing; give it"
        elif item["type"] == "model_type":
            yield f"{where} is a group of settings; give {where}.KEY=VALUE"
        else:
            message = item["msg"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:]
            yield where + (": " if isinstance(item["input"], Mapping) else f" = {item['input']!r}: ") + message


def _keys(kind: type[Settings], prefix: str = "") -> Iterator[str]:
    for name, field in kind.model_fields.items():
        inner = field.annotation
        yield prefix + name
        if isinstance(inner, type) and issubclass(inner, Settings):
            yield from _keys(inner, f"{prefix}{name}.")
