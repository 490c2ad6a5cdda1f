"""Form bodies with bracketed names, as the provider's client writes them, read strictly."""

import re
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl

from settlement.simulators.payment.answers import malformed

Fields = dict[str, Any]

FIELDS = 300
NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
TEXT_CHARACTERS = 5_000
METADATA_KEYS, METADATA_KEY_CHARACTERS, METADATA_CHARACTERS = 50, 40, 500


def parse_form(raw: str) -> Fields:
    """`a[b]=1&c[]=2` as `{"a": {"b": "1"}, "c": {"0": "2"}}`; lists are maps whose names are their places."""
    fields: Fields = {}
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, max_num_fields=FIELDS, errors="strict")
    except ValueError as error:
        raise malformed("The request has too many parameters or is not valid UTF-8.") from error
    for name, value in pairs:
        _put(fields, name, value)
    return fields


def _put(fields: Fields, name: str, value: str) -> None:
    match = NAME.fullmatch(name)
    if match is None or "\x00" in value:
        raise malformed(f"Invalid request parameter: {name[:100]!r}", name[:100])
    path = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
    place = fields
    for step in path[:-1]:
        place = place.setdefault(step or str(len(place)), {})
        if not isinstance(place, dict):
            raise malformed(f"Invalid request parameter: {name[:100]!r}", name[:100])
    place[path[-1] or str(len(place))] = value


class Form:
    """The parameters of one request. What nobody asked for by `end` is refused."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._asked: set[str] = set()

    def text(self, name: str) -> str | None:
        """The text, or None when it is absent or emptied."""
        value = self._take(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or len(value) > TEXT_CHARACTERS:
            raise malformed(f"Invalid string: {name}", name)
        return value

    def needed(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise malformed(f"Missing required param: {name}.", name, "parameter_missing")
        return value

    def integer(self, name: str) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not WHOLE_NUMBER.fullmatch(value):
            raise malformed(f"Invalid integer: {value[:40]}", name, "parameter_invalid_integer")
        return int(value)

    def amount(self, name: str) -> int | None:
        """Whole minor units, at least one."""
        value = self.integer(name)
        if value is not None and value < 1:
            raise malformed("This value must be greater than or equal to 1.", name, "parameter_invalid_integer")
        return value

    def needed_amount(self, name: str) -> int:
        self.needed(name)
        amount = self.amount(name)
        assert amount is not None  # `needed` has seen it
        return amount

    def flag(self, name: str) -> bool:
        value = self.text(name)
        if value not in {None, "true", "false"}:
            raise malformed(f"Invalid boolean: {value}", name)
        return value == "true"

    def choice(self, name: str, options: Collection[str]) -> str | None:
        value = self.text(name)
        if value is not None and value not in options:
            raise malformed(f"Invalid {name}: must be one of {', '.join(sorted(options))}", name)
        return value

    def mapping(self, name: str) -> Fields | None:
        value = self._take(name)
        if value is None or value == "":
            return None
        if not isinstance(value, dict):
            raise malformed(f"Invalid object: {name}", name)
        return value

    def words(self, name: str) -> list[str] | None:
        values = self.mapping(name)
        if values is None:
            return None
        if not all(isinstance(value, str) for value in values.values()):
            raise malformed(f"Invalid array: {name}", name)
        return list(values.values())

    def nested(self, name: str) -> "Form":
        return Form(self.mapping(name) or {})

    def metadata(self, before: dict[str, str] | None = None) -> dict[str, str]:
        """The metadata after this request: an emptied value removes its key, an emptied whole removes all."""
        if self._fields.get("metadata") == "":
            self._asked.add("metadata")
            return {}
        after = dict(before or {})
        for key, value in (self.mapping("metadata") or {}).items():
            if not isinstance(value, str) or len(value) > METADATA_CHARACTERS or len(key) > METADATA_KEY_CHARACTERS:
                raise malformed("Metadata keys or values are too long.", f"metadata[{key[:40]}]")
            if value:
                after[key] = value
            else:
                after.pop(key, None)
        if len(after) > METADATA_KEYS:
            raise malformed("Metadata can have up to 50 keys.", "metadata")
        return after

    def has(self, name: str) -> bool:
        return name in self._fields

    def is_plain(self, name: str) -> bool:
        return isinstance(self._fields.get(name), str)

    def allow(self, *names: str) -> None:
        """Parameters that the real provider takes and that change nothing here."""
        self._asked.update(names)

    def end(self) -> None:
        unknown = sorted(self._fields.keys() - self._asked)
        if unknown:
            raise malformed(f"Received unknown parameter: {unknown[0]}", unknown[0], "parameter_unknown")

    def _take(self, name: str) -> Any:
        self._asked.add(name)
        return self._fields.get(name)
