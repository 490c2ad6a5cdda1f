"""Servers that a test may kill and start again on the same files."""

import os
import signal
import subprocess
from pathlib import Path

from web.embedded import Server, start, stop


class Mortal:
    """One embedded server, run for a test alone."""

    def __init__(self, server: Server, log: Path) -> None:
        self.server = server
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = start(self.server, self._log, dict(os.environ))

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None:
            stop(self.server, self._process)
