"""Files that are there whole or not at all: temporary name, fsync, rename, fsync of the directory."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shutil
import time
import zlib
from pathlib import Path

from hubel.errors import UserError

PREFIX = ".hubel-"  # temporaries: .hubel-<pid>-<host>@<name>.tmp, in the same directory as their target
FOREIGN_SECONDS = 3600  # a temporary of another machine counts as left behind after so long
UNWRITABLE = (  # by the place that the user chose: no permission, no folder there, a folder or a file in the way
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG
)  # fmt: skip


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`. A reader, or a process started after a crash, sees the old file or the new one.

    Raises UserError where there is no room or no permission.
    """
    temporary = path.with_name(f"{PREFIX}{os.getpid()}-{_host()}@{path.name[:100]}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as fault:
        raise explain(fault, path, len(data)) from fault
    finally:  # renamed already where all went well; Ctrl-C leaves nothing behind either
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def make_folder(path: Path) -> None:
    """With those above it; no error where it is there. Raises UserError where it can't be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise explain(fault, path) from fault


def sync_directory(folder: Path) -> None:
    """Make a rename inside `folder` survive a loss of power (a no-op where directories can't be opened)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove the temporaries that killed processes left in `folder`; those of living ones stay.

    A process of another machine or container (a shared disk) can't be asked: its temporaries go when they are old.
    """
    for path in folder.glob(f"{PREFIX}*.tmp"):
        pid, _, rest = path.name.removeprefix(PREFIX).partition("-")
        try:
            elsewhere = "@" in rest and not rest.startswith(f"{_host()}@")
            foreign = elsewhere and time.time() - path.stat().st_mtime < FOREIGN_SECONDS
            if foreign or (pid.isdigit() and int(pid) != os.getpid() and is_alive(int(pid))):
                continue
            path.unlink()
        except OSError:  # gone already, or not ours to remove: another start will
            continue


def _host() -> str:
    """Names this machine in a file name; containers on one disk have names of their own."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def explain(fault: OSError, path: Path, size: int = 0) -> Exception:
    """The fault as a message for the user, where it is one that the user can mend."""
    if fault.errno in (errno.ENOSPC, errno.EDQUOT):
        free = _free(path.parent)
        return UserError(
            f"No room for {path}: {size / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free. "
            "What was saved before is whole. Make room (`hubel runs --prune`), then continue with `hubel resume`."
        )
    if fault.errno in UNWRITABLE:
        why = os.strerror(fault.errno)
        return UserError(f"{path} can't be written ({why}). Choose another folder with --out, or another --page.")
    return fault


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
