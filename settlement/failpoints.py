"""Named places where a test can make a process die or fail; inert unless the environment names one."""

import os
import signal

VARIABLE = "SURPLUSFLOW_FAILPOINT"


class Failed(Exception):
    """A failpoint was told to raise."""


def failpoint(name: str) -> None:
    """Die (``name:kill``) or raise (``name:raise``) here when ``SURPLUSFLOW_FAILPOINT`` says so."""
    wanted, _, action = os.environ.get(VARIABLE, "").partition(":")
    if wanted != name:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise Failed(name)
