"""House rules that a machine can check: arrows, what lies where, what a tracked file may say."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOP = {
    *("market", "matching", "settlement", "web", "tests", "docs"),
    *("README.md", "README.zh-CN.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile"),
    *("pyproject.toml", "requirements.lock", "compose.yaml", "Dockerfile"),
}
PURE_IMPORTS = {"bisect", "collections", "dataclasses", "enum", "heapq", "itertools", "typing", "matching"}
# Written so that this file does not hold what it forbids.
REGISTRIES = re.compile(
    rb"//[\w.-]*(pypi|pythonhosted|npmjs|registry\.npm|deb\.debian|docker\.io|ghcr)[.\w]*/", re.IGNORECASE
)
MACHINE_PATHS = re.compile(rb"(?<![\w.~])/(work|home|root|Users)/\w")


def tracked() -> list[Path]:
    git = shutil.which("git")
    assert git, "The tests of what is tracked need git."
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_imports_point_down() -> None:
    lint = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


def test_nothing_else_lies_at_the_top() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in tracked()}

    assert {name for name in top if not name.startswith(".")} <= TOP


def test_no_tracked_file_names_a_registry_or_a_folder_of_somebodys_machine() -> None:
    told = [
        f"{path.relative_to(ROOT)}: {found.group().decode()}"
        for path in tracked()
        for pattern in (REGISTRIES, MACHINE_PATHS)
        if (found := pattern.search(path.read_bytes()))
    ]

    assert told == []


def test_every_lint_rule_that_is_left_out_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    left_out = {*lint["ignore"], *(rule for rules in lint["per-file-ignores"].values() for rule in rules)}

    without_reason = {rule for rule in left_out if not re.search(rf'^ +"{rule}", +# \S.+', text, re.MULTILINE)}

    assert lint["select"] == ["ALL"]
    assert without_reason == set()


def test_every_warning_that_is_let_through_says_why() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()

    for number, line in enumerate(lines):
        if line.strip().startswith('"ignore'):
            assert lines[number - 1].strip().startswith("#"), line


def test_the_lock_pins_every_package_by_hash() -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text(encoding="utf-8").strip())

    assert len(entries) > 50
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


def pure_modules() -> list[tuple[Path, ast.Module]]:
    """What decides about orders and money: no clock, no chance, no float, so the same on every run and machine."""
    paths = [*sorted((ROOT / "matching").rglob("*.py")), ROOT / "settlement" / "ledger.py"]
    return [(path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def test_the_pure_core_imports_nothing_that_could_surprise_it() -> None:
    for path, module in pure_modules():
        for node in ast.walk(module):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.partition(".")[0] in PURE_IMPORTS, f"{path} imports {name}"


def test_the_pure_core_counts_in_whole_numbers() -> None:
    for path, module in pure_modules():
        for node in ast.walk(module):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), where
            assert not (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)), where
            assert not (isinstance(node, ast.Name) and node.id == "float"), where
