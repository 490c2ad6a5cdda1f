"""The published descriptions of the outside's interfaces, and whether a request is one that they describe.

A description is read more strictly than it is written: a field or a parameter that it does not name is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # it comes without types
from jsonschema import Draft202012Validator, FormatChecker

from tests.wire.forms import nested, typed
from tests.wire.requests import Request

Schema = Mapping[str, Any]

METHODS = ("get", "post", "patch", "put", "delete")
FORM = "application/x-www-form-urlencoded"
COMPARISON = re.compile(r"\.(eq|gt|gte|lt|lte)$")
"""How TMF630 compares an attribute with a value."""
FORMATS = FormatChecker(formats=())
"""Only what is checked here: the library's own checks come and go with what else is installed."""


@FORMATS.checks("date-time", raises=ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@FORMATS.checks("date", raises=ValueError)
def _is_day(value: object) -> bool:
    return not isinstance(value, str) or bool(date.fromisoformat(value))


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked for at one path."""

    description: "Description"
    method: str
    template: str
    spec: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"

    def problems(self, request: Request, without: frozenset[str] = frozenset()) -> list[str]:
        """What is not as described; the named fields and parameters are left out of account."""
        return [
            *self._check(self._parameters("query"), self._query(request, without)),
            *self._check(self._parameters("header"), _named(request.headers, self._parameters("header"))),
            *self._check_body(request, without),
        ]

    def _check_body(self, request: Request, without: frozenset[str]) -> Iterator[str]:
        schema, media_type = self._body()
        if schema is None:
            yield from ["a body where there should be none"] if request.body else []
            return
        if request.headers.get("content-type", "").partition(";")[0] != media_type:
            yield f"{request.headers.get('content-type')} instead of {media_type}"
            return
        if media_type == FORM:
            document = typed(nested(request.body.decode()), schema)
        else:
            document = json.loads(request.body, parse_float=Decimal)
        yield from self._check(schema, {name: value for name, value in document.items() if name not in without})

    def _check(self, schema: Schema, document: Any) -> Iterator[str]:
        for error in self.description.validator(schema).iter_errors(document):
            yield f"{self.name}: {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"

    def _query(self, request: Request, without: frozenset[str]) -> Any:
        query = typed(nested(request.query), self._parameters("query"))
        return {name: value for name, value in query.items() if name not in without and not self._filters(name)}

    def _filters(self, name: str) -> bool:
        """Whether TMF630 lets a list be filtered by this: every attribute of what is listed may be named."""
        shown: Any = self.spec["responses"].get("200", {}).get("schema")
        if self.description.is_openapi or shown is None:
            return False
        for part in COMPARISON.sub("", name).split("."):
            shown = self.description.resolved(shown)
            shown = self.description.resolved(shown.get("items", shown)).get("properties", {}).get(part)
            if shown is None:
                return False
        return True

    def _parameters(self, place: str) -> Schema:
        found = [one for one in map(self.description.resolved, self.spec.get("parameters", ())) if one["in"] == place]
        return {
            "type": "object",
            "properties": {one["name"]: one.get("schema") or {"type": one["type"]} for one in found},
            "required": [one["name"] for one in found if one.get("required")],
        }

    def _body(self) -> tuple[Schema | None, str]:
        """The body's schema and media type."""
        if "requestBody" in self.spec:
            content = self.description.resolved(self.spec["requestBody"])["content"]
            media_type, described = next(iter(content.items()))
            # A form without any field is described for requests that have no body at all.
            empty = media_type == FORM and self.method == "GET"
            return (None if empty else described["schema"]), media_type
        bodies = [one["schema"] for one in self.spec.get("parameters", ()) if one.get("in") == "body"]
        return (bodies[0] if bodies else None), "application/json"


class Description:
    """One interface, in Swagger 2 or OpenAPI 3."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        self._document = _decimal(json.loads(text) if path.suffix == ".json" else yaml.safe_load(text))
        self.is_openapi = "openapi" in self._document
        self._prefix = self._document.get("basePath", "")
        if self.is_openapi and path.suffix != ".json":
            self._prefix = self._document["servers"][0]["url"].removeprefix("{apiRoot}")

    @cached_property
    def operations(self) -> list[Operation]:
        """The operations, those without a variable in their path first."""
        found = [
            Operation(self, method.upper(), self._prefix + template, spec)
            for template, item in self._document["paths"].items()
            for method, spec in item.items()
            if method in METHODS
        ]
        return sorted(found, key=lambda operation: operation.template.count("{"))

    def operation(self, request: Request) -> Operation | None:
        for operation in self.operations:
            pattern = re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(operation.template))
            if operation.method == request.method and re.fullmatch(pattern, request.path):
                return operation
        return None

    def resolved(self, node: Any) -> Any:
        """What a reference stands for."""
        while "$ref" in node:
            target: Any = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def validator(self, schema: Schema) -> Draft202012Validator:
        return Draft202012Validator({**self._used(schema), **self._definitions}, format_checker=FORMATS)

    @cached_property
    def _definitions(self) -> Mapping[str, Any]:
        names = ("components", "definitions")
        return {name: self._walked(self._document[name]) for name in names if name in self._document}

    def _used(self, schema: Schema) -> dict[str, Any]:
        """A schema where it is used: nothing beside what it names, and by its discriminator the one that is meant.

        Parts of an `allOf` are only parts, so this can't be said where a schema is defined.
        """
        target = self.resolved(schema)
        mapping = target.get("discriminator", {}).get("mapping")
        if mapping and not target.keys() & {"oneOf", "anyOf"}:
            name = target["discriminator"]["propertyName"]
            meant = [
                {"allOf": [{"properties": {name: {"const": value}}}, {"$ref": pointer}]}
                for value, pointer in mapping.items()
            ]
            return {"anyOf": [{**one, "unevaluatedProperties": False} for one in meant]}
        walked: dict[str, Any] = self._walked(schema)
        named = target.keys() & {"properties", "allOf", "oneOf", "anyOf"}
        return {**walked, "unevaluatedProperties": False} if named else walked

    def _walked(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._walked(one) for one in node]
        if not isinstance(node, dict):
            return node
        changed = {name: self._walked(one) for name, one in node.items() if name not in {"properties", "items"}}
        if isinstance(node.get("properties"), dict):
            changed["properties"] = {name: self._used(one) for name, one in node["properties"].items()}
        if isinstance(node.get("items"), dict):
            changed["items"] = self._used(node["items"])
        return {"anyOf": [changed, {"type": "null"}]} if node.get("nullable") is True else changed


def _named(headers: Mapping[str, str], schema: Schema) -> dict[str, str]:
    return {name: headers[name.lower()] for name in schema["properties"] if name.lower() in headers}


def _decimal(value: Any) -> Any:
    """Its numbers as decimals: 12.34 is a multiple of 0.001 only as one."""
    match value:
        case dict():
            return {name: _decimal(one) for name, one in value.items()}
        case list():
            return [_decimal(one) for one in value]
        case float():
            return Decimal(str(value))
        case _:
            return value
