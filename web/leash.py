"""Start a program in a process group of its own, so that it does not outlive the one who started it.

Run as a script, this file is the last step before the program: it becomes the account the program runs under, asks the
kernel to be told when the starter dies, and turns into the program. Only Linux can promise that; elsewhere the next
start finds and stops what was left behind.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1


def spawn(
    argv: Sequence[str | Path],
    *,
    directory: Path,
    environment: Mapping[str, str],
    output: int | IO[bytes],
    owner: tuple[int, int] | None = None,
    farewell: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `argv` on a leash.

    `owner` is the user and group id it runs under, ours when None. `farewell` is the signal it gets when we die.
    """
    user_id, group_id = owner or (-1, -1)
    leash = [sys.executable, "-I", "-S", __file__, os.getpid(), farewell.value, user_id, group_id]
    return subprocess.Popen(  # noqa: S603 - the programs are our own
        [str(part) for part in (*leash, *argv)],
        cwd=directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        process_group=0,
    )


def signal_group(process_id: int, number: signal.Signals) -> None:
    """Signal everything in the group that a leashed program leads; nobody there is as good."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, number)


def _become(argv: list[str], *, starter: int, farewell: int, user_id: int, group_id: int) -> None:
    if user_id >= 0:
        os.setgroups([])
        os.setgid(group_id)
        os.setuid(user_id)
    # After the account has changed, for a change of account cuts the leash.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, farewell, 0, 0, 0)
    if os.getppid() != starter:
        sys.exit("The one who started this is already gone.")
    os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    starter, farewell, user_id, group_id = (int(part) for part in sys.argv[1:5])
    _become(sys.argv[5:], starter=starter, farewell=farewell, user_id=user_id, group_id=group_id)
