"""Every fault that touches settlement has its test, and every test that is named exists."""

import ast
import sys
from pathlib import Path

import pytest

from tests.settlement.faults.matrix import MATRIX

ROOT = Path(__file__).parents[3]
WANTED = {f"F{number}" for number in (*range(1, 9), *range(12, 34), *range(35, 39))}
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("time", "time")}
MAY_LOOK = {"settlement/simulators", "settlement/payments", "settlement/carriers"}
"""The outside's own clocks, and the ports."""


def test_every_fault_is_shown_or_says_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert MATRIX.keys() == WANTED
    assert [name for name, row in MATRIX.items() if not row.tests and not row.not_shown] == []

    with capsys.disabled():
        for name, row in MATRIX.items():
            if row.not_shown:
                sys.stdout.write(f"\n{'partly' if row.tests else 'not'} shown: {name}, {row.fault}: {row.not_shown}")
        sys.stdout.write("\n")


@pytest.mark.parametrize("fault", [name for name, row in MATRIX.items() if row.tests])
def test_the_tests_of_a_fault_exist(fault: str) -> None:
    for test in MATRIX[fault].tests:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_no_deadline_of_settlement_is_read_off_the_workers_own_clock() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "settlement").rglob("*.py")
        if not any(path.is_relative_to(ROOT / folder) for folder in MAY_LOOK)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in CLOCKS
    ]

    assert found == []
