"""The data directory of `surplusflow up`: what lies where, and that only one set of programs works in it."""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from web.trouble import Trouble


class Occupied(Trouble):
    """Another `surplusflow up` works in this data directory."""


class UnreadableFile(Trouble):
    """A file of the data directory is damaged."""


class DataDirectory:
    """Paths of one data directory. Files with secrets in them are for their owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.postgres = self.path / "postgres"
        self.valkey = self.path / "valkey"
        self.logs = self.path / "logs"
        self.temporary = self.path / "tmp"
        self.run_file = self.path / "run.json"
        self.environment_file = self.path / "environment.json"
        self.secrets_file = self.path / "secrets.json"
        self.webhook_file = self.path / "webhook.json"
        self.logins_file = self.path / "demo-logins.txt"
        self._lock_file = self.path / "lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory; the kernel lets go of it when we end, however we end.

        Raises:
            Occupied: when another process holds it, saying which.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600), "r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = lock.read().strip() or "unknown"
                msg = (
                    f"Surplusflow already works in {self.path} (process {holder}). Stop it, or give another --data-dir."
                )
                raise Occupied(msg) from None
            lock.truncate()
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def is_held(self) -> bool:
        """Whether an `up` works in the directory at this moment."""
        try:
            with self._lock_file.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def clear(self) -> None:
        """Make the folders that programs write to, without what the last run left for itself."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        for folder in (self.logs, self.temporary):
            folder.mkdir(mode=0o700, exist_ok=True)

    def secrets(self, make: Mapping[str, Callable[[], str]]) -> dict[str, str]:
        """The secrets of this directory, made the first time they are asked for and the same ever after."""
        known = read_json(self.secrets_file)
        missing = {name: produce() for name, produce in make.items() if name not in known}
        if missing:
            write_json(self.secrets_file, known | missing)
        return known | missing

    def environment(self) -> dict[str, str]:
        """The environment that the programs of the last `up` were given; empty when there was none."""
        return read_json(self.environment_file)


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote; empty when it never did.

    Raises:
        UnreadableFile: rather than starting anew, for new secrets would not open what the old ones closed.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        msg = f"{path} is damaged: {error}."
        raise UnreadableFile(msg) from error
    return dict(document)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write the whole file or leave the old one; readable by its owner alone."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(document, file, ensure_ascii=False, indent=2)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:  # a full disk gets no half a file on top
        draft.unlink(missing_ok=True)
        raise
