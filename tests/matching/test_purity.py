"""matching/ decides from its arguments alone, in integers: no clock, chance, I/O, float, or order of hashes."""

import ast
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[2] / "matching"
MAY_IMPORT = {"bisect", "collections.abc", "dataclasses", "enum", "heapq", "itertools", "typing"}
MAY_NOT_NAME = {"float", "complex", "open", "print", "input", "eval", "exec", "set", "frozenset", "hash", "id"}


def breaches(source: str) -> list[str]:
    tree = ast.parse(source)
    own = [name for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for name in own_names(function)]
    return [ast.unparse(node) for node in ast.walk(tree) if is_breach(node) and node not in own]


def own_names(function: ast.FunctionDef) -> list[ast.Name]:
    """Where a function's body means its own argument, which may be named as something built in."""
    arguments = [argument.arg for argument in function.args.args]
    return [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id in arguments]


def is_breach(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names):
            return any(name.name not in MAY_IMPORT for name in names)
        case ast.ImportFrom(module=module):
            return module not in MAY_IMPORT and not str(module).startswith("matching.")
        case ast.Name(id=name, ctx=ast.Load()):
            return name in MAY_NOT_NAME
        case ast.Constant(value=value):
            return isinstance(value, float | complex)
    # A division may leave the whole numbers; a set's order depends on hashes.
    return isinstance(node, ast.Set | ast.SetComp) or isinstance(getattr(node, "op", None), ast.Div)


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: path.name)
def test_matching_is_pure(path: Path) -> None:
    assert breaches(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import random",
        "from os import environ",
        "from collections import Counter",
        "from market.orders import OrderRow",
        "price = 1.5",
        "price = total / 2",
        "total /= 2",
        "price = float('1')",
        "names = {1, 2}",
        "names = {n for n in (1, 2)}",
        "names = set()",
        "key = hash('a')",
        "def first(path): return open(path)",
    ],
)
def test_each_breach_is_seen(source: str) -> None:
    assert len(breaches(source)) == 1


def test_an_argument_may_be_named_as_something_built_in() -> None:
    assert breaches("def an_order(id, open): return id, open") == []
