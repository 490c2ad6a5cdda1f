"""Volumes of a fixed size, to be filled: a file system in memory, where the machine lets us mount one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from market.volume import space_of
from tests.supervisor.running import short_folder

MB = 2**20
BLOCK = 64 * 1024


@dataclass(frozen=True)
class Volume:
    """A mounted volume, and a file on it whose size says how much is left for all others."""

    path: Path

    @property
    def free_percent(self) -> float:
        space = space_of(self.path)
        return 100 * space.free / space.total

    def leave_percent(self, percent: float) -> None:
        """Fill it until so much is free, whatever else lies on it."""
        space = space_of(self.path)
        self._grow(space.free - int(space.total * percent / 100))

    def leave_nothing(self) -> None:
        while (free := space_of(self.path).free) > BLOCK:
            self._grow(free - BLOCK // 2)

    def make_room(self) -> None:
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def _grow(self, by: int) -> None:
        """Others write at the same time, so that even what was just free may be gone."""
        with self._ballast.open("ab") as file:
            size = file.seek(0, os.SEEK_END)
            try:
                if by > 0:
                    os.posix_fallocate(file.fileno(), size, by)
                else:
                    os.ftruncate(file.fileno(), max(0, size + by))
            except OSError:
                os.ftruncate(file.fileno(), size)


@contextmanager
def small_volume(megabytes: int) -> Iterator[Volume]:
    """A volume of its own, unmounted at the end; the test is left out where nothing may be mounted."""
    with short_folder() as folder:
        place = folder / "volume"
        place.mkdir()
        mount, unmount = shutil.which("mount"), shutil.which("umount")
        if mount is None or unmount is None:
            pytest.skip("There is no program here that mounts a volume.")
        options = ["-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "surplusflow-test", str(place)]
        done = subprocess.run([mount, *options], check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"No volume may be mounted here ({done.stderr.strip()}): run as root, or under unshare -rm.")
        try:
            yield Volume(place)
        finally:
            subprocess.run([unmount, "--lazy", str(place)], check=True)
