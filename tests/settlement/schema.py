"""Holds XML against an XML Schema of the plain kind that ISO 20022 publishes: sequences, choices, restricted texts.

It reads the schema itself, so that nothing of it is repeated here. What it does not
know of XML Schema it refuses to guess at.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from xml.etree import ElementTree as ET

XS = "{http://www.w3.org/2001/XMLSchema}"
BUILT_IN = {"string", "decimal", "dateTime", "date", "boolean", "base64Binary", "gYear", "gYearMonth", "time"}


@dataclass
class Schema:
    """The types of one schema file, and what is wrong with a document by them."""

    types: dict[str, ET.Element]
    root: ET.Element
    namespace: str

    @classmethod
    def of(cls, path: Path) -> "Schema":
        tree = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - the published file, which we hold
        types = {str(each.get("name")): each for each in tree if each.tag in {XS + "complexType", XS + "simpleType"}}
        (root,) = tree.findall(XS + "element")
        return cls(types, root, str(tree.get("targetNamespace")))

    def problems(self, document: bytes) -> list[str]:
        """Everything that is wrong, by the path of the element; nothing for a valid document."""
        element = ET.fromstring(document)  # noqa: S314 - our own report
        if element.tag != f"{{{self.namespace}}}{self.root.get('name')}":
            return [f"the root is {element.tag}"]
        return self._element(element, str(self.root.get("type")), str(self.root.get("name")))

    def _element(self, element: ET.Element, type_name: str, path: str) -> list[str]:
        if type_name.removeprefix("xs:") in BUILT_IN or self.types[type_name].tag == XS + "simpleType":
            extra = [f"{path}: attribute {name}" for name in element.attrib] + [f"{path}: child" for _ in element]
            return extra + self._text(element.text or "", type_name, path)
        found = self.types[type_name]
        simple = found.find(f"{XS}simpleContent/{XS}extension")
        if simple is not None:
            return self._attributes(element, simple, path) + self._text(
                element.text or "", str(simple.get("base")), path
            )
        wrong = [f"{path}: attribute {name}" for name in element.attrib]
        if (element.text or "").strip():
            wrong.append(f"{path}: text among elements")
        choice, sequence = found.find(XS + "choice"), found.find(XS + "sequence")
        if choice is not None:
            return wrong + self._choice(element, choice, path)
        assert sequence is not None, type_name
        return wrong + self._sequence(element, sequence, path)

    def _attributes(self, element: ET.Element, extension: ET.Element, path: str) -> list[str]:
        known = {str(each.get("name")): each for each in extension.findall(XS + "attribute")}
        wrong = [f"{path}: attribute {name}" for name in element.attrib.keys() - known.keys()]
        for name, each in known.items():
            if name in element.attrib:
                wrong += self._text(element.attrib[name], str(each.get("type")), f"{path}/@{name}")
            elif each.get("use") == "required":
                wrong.append(f"{path}: no attribute {name}")
        return wrong

    def _choice(self, element: ET.Element, choice: ET.Element, path: str) -> list[str]:
        options = {f"{{{self.namespace}}}{each.get('name')}": each for each in choice.findall(XS + "element")}
        if len(element) != 1 or element[0].tag not in options:
            return [f"{path}: not one of the choices: {[each.tag for each in element]}"]
        return self._child(element[0], options[element[0].tag], path)

    def _sequence(self, element: ET.Element, sequence: ET.Element, path: str) -> list[str]:
        children, wrong = list(element), []
        for part in sequence:
            assert part.tag == XS + "element", part.tag
            least, most = int(part.get("minOccurs", "1")), part.get("maxOccurs", "1")
            count = 0
            while children and children[0].tag == f"{{{self.namespace}}}{part.get('name')}":
                wrong += self._child(children.pop(0), part, path)
                count += 1
            if count < least or (most != "unbounded" and count > int(most)):
                wrong.append(f"{path}/{part.get('name')}: {count} times")
        return wrong + [f"{path}: {each.tag} is out of place" for each in children]

    def _child(self, child: ET.Element, part: ET.Element, path: str) -> list[str]:
        return self._element(child, str(part.get("type")), f"{path}/{part.get('name')}")

    def _text(self, text: str, type_name: str, path: str) -> list[str]:
        if type_name.startswith("xs:"):
            return [] if _is(text, type_name.removeprefix("xs:")) else [f"{path}: {text!r} is no {type_name}"]
        (restriction,) = self.types[type_name].findall(XS + "restriction")
        wrong = self._text(text, str(restriction.get("base")), path)
        facets = [(each.tag.removeprefix(XS), str(each.get("value"))) for each in restriction]
        allowed = [value for name, value in facets if name == "enumeration"]
        if allowed and text not in allowed:
            wrong.append(f"{path}: {text!r} is not one of {allowed}")
        return wrong + [
            f"{path}: {text!r} against {name} {value}"
            for name, value in facets
            if name != "enumeration" and not _meets(text, name, value)
        ]


def _is(text: str, name: str) -> bool:
    try:
        match name:
            case "decimal":
                return re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)", text) is not None
            case "dateTime":
                return "T" in text and datetime.fromisoformat(text) is not None
            case "date":
                return date.fromisoformat(text) is not None
            case "boolean":
                return text in {"true", "false", "0", "1"}
    except (ValueError, InvalidOperation):
        return False
    return name == "string"


def _meets(text: str, facet: str, value: str) -> bool:
    digits = Decimal(text).as_tuple() if facet in {"totalDigits", "fractionDigits", "minInclusive"} else None
    match facet:
        case "minLength":
            return len(text) >= int(value)
        case "maxLength":
            return len(text) <= int(value)
        case "pattern":
            return re.fullmatch(value, text) is not None
        case "totalDigits":
            assert digits is not None
            return len(digits.digits) <= int(value)
        case "fractionDigits":
            assert digits is not None
            return -int(digits.exponent) <= int(value)
        case "minInclusive":
            return Decimal(text) >= Decimal(value)
    raise AssertionError(facet)
