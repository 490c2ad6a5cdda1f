"""Say which locked packages have known vulnerabilities, and how many could not be audited.

pip-audit says "No known vulnerabilities found" of packages that it could not look up. What was not looked up is not
clean, and this says so. Exit 1 only when a vulnerability is known.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SECONDS = 180


def main(lock: str) -> int:
    packages = _looked_up(lock)
    if packages is None:
        print("Not audited: the database of vulnerabilities does not answer.")
        return 0
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    vulnerable = [package for package in packages if package.get("vulns")]
    for package in vulnerable:
        names = ", ".join(vulnerability["id"] for vulnerability in package["vulns"])
        print(f"VULNERABLE: {package['name']} {package['version']}: {names}")
    print(_verdict(len(packages), len(skipped), len(vulnerable)))
    return 1 if vulnerable else 0


def _looked_up(lock: str) -> list[dict[str, Any]] | None:
    with tempfile.TemporaryDirectory() as directory:
        answer = Path(directory) / "audit.json"
        options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "-f", "json", "-o", str(answer)]
        command = [sys.executable, "-m", "pip_audit", *options, "-r", lock]
        try:
            subprocess.run(command, check=False, capture_output=True, timeout=SECONDS)
            found: list[dict[str, Any]] = json.loads(answer.read_text(encoding="utf-8"))["dependencies"]
        except (subprocess.TimeoutExpired, OSError, ValueError, KeyError):
            return None
    return found


def _verdict(packages: int, skipped: int, vulnerable: int) -> str:
    audited = packages - skipped
    if not audited:
        return f"Not audited: none of {packages} packages could be looked up."
    rest = f"; {skipped} NOT audited, they could not be looked up" if skipped else ""
    return f"Audited {audited} of {packages} packages: {vulnerable} with known vulnerabilities{rest}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
