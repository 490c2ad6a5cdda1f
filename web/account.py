"""The account that embedded servers run under. PostgreSQL refuses root, so root lends them to a system user."""

import os
import pwd
import shutil
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from web.trouble import Trouble

ACCOUNT = "surplusflow"
NOLOGIN = "/usr/sbin/nologin"

ACL = "system.posix_acl_access"
ACL_VERSION = 2
USER_OWNER, USER, GROUP_OWNER, MASK, OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
NOBODY_SPECIAL = 0xFFFFFFFF
ENTRY = struct.Struct("<HHI")


class NoAccount(Trouble):
    """Root has no system user to lend the embedded servers to, or cannot let it reach them."""


@dataclass(frozen=True)
class Account:
    """Whom the servers run as; `ids` is None when that is simply us."""

    ids: tuple[int, int] | None = None

    def own(self, path: Path) -> None:
        if self.ids is not None:
            os.chown(path, *self.ids)

    def reach(self, path: Path) -> None:
        """Let the account pass through the folders above `path`, and nobody else.

        Raises:
            NoAccount: when a folder is closed and its file system cannot open it for one account.
        """
        if self.ids is None:
            return
        for folder in reversed(path.resolve().parents):
            status = folder.stat()
            if status.st_uid != self.ids[0] and not status.st_mode & stat.S_IXOTH:
                _let_through(folder, self.ids[0])

    def run(self, argv: list[str | Path], seconds: int) -> None:
        """Run a short program under the account.

        Raises:
            subprocess.SubprocessError: when it fails or takes longer than `seconds`.
        """
        as_whom = {} if self.ids is None else {"user": self.ids[0], "group": self.ids[1], "extra_groups": []}
        subprocess.run(argv, check=True, capture_output=True, timeout=seconds, cwd="/", **as_whom)  # type: ignore[call-overload]  # noqa: S603


def server_account() -> Account:
    """Our own account, or, for root, the system user, made when it is missing.

    Raises:
        NoAccount: when it is missing and cannot be made.
    """
    if os.geteuid() != 0:
        return Account()
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        _make_user()
        entry = pwd.getpwnam(ACCOUNT)
    return Account(ids=(entry.pw_uid, entry.pw_gid))


def _make_user() -> None:
    useradd = shutil.which("useradd")
    if useradd is None:
        msg = f"PostgreSQL does not run as root, and there is no useradd to make the system user {ACCOUNT} for it."
        raise NoAccount(msg)
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", NOLOGIN]
    done = subprocess.run([useradd, *options, ACCOUNT], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in {0, 9}:  # 9: another start made it meanwhile
        msg = f"PostgreSQL does not run as root, and the system user {ACCOUNT} could not be made: {done.stderr.strip()}"
        raise NoAccount(msg)


def _let_through(folder: Path, user_id: int) -> None:
    try:
        entries = _entries(folder)
        entries[USER, user_id] = entries.get((USER, user_id), 0) | stat.S_IXOTH
        entries[MASK, NOBODY_SPECIAL] = entries.get((MASK, NOBODY_SPECIAL), 0) | stat.S_IXOTH
        packed = b"".join(ENTRY.pack(tag, bits, who) for (tag, who), bits in sorted(entries.items()))
        os.setxattr(folder, ACL, struct.pack("<I", ACL_VERSION) + packed)
    except (OSError, AttributeError) as error:
        msg = (
            f"PostgreSQL does not run as root, and its system user {ACCOUNT} may not pass through {folder}."
            " Work as an ordinary user, or in a folder that others may enter."
        )
        raise NoAccount(msg) from error


def _entries(folder: Path) -> dict[tuple[int, int], int]:
    """The folder's access list by tag and id; without one, what its mode amounts to."""
    if ACL in os.listxattr(folder):
        packed = os.getxattr(folder, ACL)[4:]
        return {(tag, who): bits for tag, bits, who in ENTRY.iter_unpack(packed)}
    mode = stat.S_IMODE(folder.stat().st_mode)
    return {
        (USER_OWNER, NOBODY_SPECIAL): mode >> 6 & 7,
        (GROUP_OWNER, NOBODY_SPECIAL): mode >> 3 & 7,
        (MASK, NOBODY_SPECIAL): mode >> 3 & 7,
        (OTHER, NOBODY_SPECIAL): mode & 7,
    }
