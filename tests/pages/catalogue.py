"""Collects every message that a reader may see; `python -m tests.pages.catalogue` brings the catalogues up to date."""

import ast
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "web" / "locale"
TEMPLATE = FOLDER / "messages.pot"
CHINESE = FOLDER / "zh_CN" / "LC_MESSAGES" / "messages.po"
HEADER = "# The words of Surplusflow (流市) in simplified Chinese."
FIRST_WRITTEN = datetime(2026, 11, 23, tzinfo=UTC)
"""A fixed day, so that the file changes only when the words do."""
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None}
REFUSING = ("market", "matching", "web")
"""Where refusals with words for people are made."""
FOR_PROGRAMS = {"api", "cursors.py", "idempotency.py", "strict_json.py", "accounts_admin.py", "listing.py", "cli.py"}
"""The API and the command line speak English."""


def messages() -> Catalog:
    """All messages: of templates, of words for codes, and of refusals."""
    found = Catalog()
    for path in sorted((ROOT / "web" / "templates").rglob("*.html")):
        _add(found, extract_from_file("jinja2.ext:babel_extract", path, keywords=KEYWORDS, options={"silent": "false"}))
    for path in sorted((ROOT / "web").rglob("*.py")):
        _add(found, extract_from_file("python", path, keywords=KEYWORDS))
    for words in refusals():
        found.add(words)
    return found


def refusals() -> Iterator[str]:
    """The words of every refusal; a value inside is ``{0}``, ``{1}`` and so on."""
    trees = [ast.parse(path.read_text()) for path in _sources()]
    kinds = _kinds(trees)
    for tree in trees:
        constants = _constants(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node.func) in kinds:
                yield from _sentences(node.args, constants)
            elif isinstance(node, ast.ClassDef) and node.name in kinds:
                yield from _own_words(node, constants)


def _sources() -> Iterator[Path]:
    for folder in REFUSING:
        yield from (path for path in sorted((ROOT / folder).rglob("*.py")) if not FOR_PROGRAMS & set(path.parts))


def _kinds(trees: Iterable[ast.Module]) -> set[str]:
    """The names of all classes that are refusals, and of the functions that make one."""
    known = {"Refusal", "NotTaken"}
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while new := {each.name for each in classes if {_name(base) for base in each.bases} & known} - known:
        known |= new
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return known | {each.name for each in functions if each.returns is not None and _name(each.returns) in known}


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _own_words(kind: ast.ClassDef, constants: dict[str, ast.expr]) -> Iterator[str]:
    """What a refusal says of itself: its class's ``words``, or what it gives to its parent."""
    for node in ast.walk(kind):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "__init__":
            yield from _sentences(node.args, constants)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if _name(target) == "words":
                yield from _sentences([node.value], constants)


def _sentences(arguments: Iterable[ast.expr], constants: dict[str, ast.expr]) -> Iterator[str]:
    for argument in arguments:
        value = constants.get(argument.id, argument) if isinstance(argument, ast.Name) else argument
        text = _text(value)
        if " " in text:
            yield text


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts, number = "", 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts += str(part.value)
        else:
            parts += f"{{{number}}}"
            number += 1
    return parts


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _add(found: Catalog, extracted: Iterable[tuple[int, str | tuple[str, ...], list[str], str | None]]) -> None:
    for _, message, _, _ in extracted:
        found.add(message)


def main() -> None:
    """Write the template, and the Chinese catalogue with what is new still empty."""
    found = messages()
    with TEMPLATE.open("wb") as file:
        write_po(file, found, omit_header=True, sort_output=True, width=116)
    former = read_po(CHINESE.open("rb"), locale="zh_CN")
    named = {"project": "Surplusflow", "version": "1", "last_translator": "Surplusflow", "msgid_bugs_address": "-"}
    chinese = Catalog(locale="zh_CN", header_comment=HEADER, language_team="Chinese", fuzzy=False, **named)
    chinese.creation_date = chinese.revision_date = FIRST_WRITTEN
    for message in found:
        if message.id:
            known = former.get(message.id)
            chinese.add(message.id, known.string if known else "")
    with CHINESE.open("wb") as file:
        write_po(file, chinese, sort_output=True, width=116)


if __name__ == "__main__":
    main()
