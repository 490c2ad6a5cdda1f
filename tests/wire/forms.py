"""Queries and forms, whose values are all text, made into the documents that they stand for."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

KEY = re.compile(r"\[([^\]]*)\]")


def nested(text: str) -> dict[str, Any]:
    """`a[b]=1&c[0]=2` as ``{"a": {"b": "1"}, "c": {"0": "2"}}``."""
    document: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)):
        name, *inner = key.partition("[")[0], *KEY.findall(key)
        place, last = document, name
        for part in inner:
            place, last = place.setdefault(last, {}), part
        place[last or str(len(place))] = value
    return document


def typed(value: Any, schema: Mapping[str, Any]) -> Any:
    """Numbers, truths and lists where the schema has them; what cannot be one stays text, for the schema to refuse."""
    options = list(_options(schema))
    if isinstance(value, str):
        kinds = {option.get("type") for option in options}
        if "integer" in kinds and re.fullmatch(r"-?\d+", value):
            return int(value)
        return value == "true" if "boolean" in kinds and value in {"true", "false"} else value
    items = next((option["items"] for option in options if "items" in option), None)
    if items is not None and all(key.isdigit() for key in value):
        return [typed(one, items) for one in value.values()]
    fields = {name: one for option in options for name, one in option.get("properties", {}).items()}
    return {name: typed(one, fields.get(name, {})) for name, one in value.items()}


def _options(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for option in schema.get("anyOf", ()):
        yield from _options(option)
    yield schema
