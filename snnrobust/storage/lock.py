"""Files that one process at a time may write; the lock goes with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snnrobust.errors import RunFileError
from snnrobust.storage.files import check_place, one_line


@contextmanager
def locked(run: Path | None) -> Iterator[None]:
    """Hold `<run>.lock` while a run file is being made; None locks nothing.

    Raises:
        RunFileError: another process holds it, or the folder is not writable.
    """
    if run is None:
        yield
        return
    check_place(run)
    path = Path(f"{run}.lock")
    handle = _open_beside(run, path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def unwritten(run: Path) -> Iterator[None]:
    """Hold the journal of a run file, so that no benchmark writes the file; its records stay.

    Raises:
        RunFileError: a benchmark is running, or the folder is not writable.
    """
    path = Path(f"{run}.journal")
    new = not path.exists()
    handle = _open_beside(run, path)
    try:
        yield
    finally:
        if new:
            path.unlink(missing_ok=True)
        os.close(handle)


def _open_beside(run: Path, path: Path) -> int:
    """`open_locked` of a file beside a run file."""
    try:
        return open_locked(path)
    except OSError as error:
        raise RunFileError(f"{one_line(run)}: cannot be written ({error.strerror or error})") from None


def open_locked(path: Path) -> int:
    """A handle of the file, made where it does not exist, that this process alone may write.

    Raises:
        RunFileError: another process holds it.
        OSError: it cannot be opened.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise RunFileError(f"{one_line(path)}: another process is writing") from None
        except BaseException:
            os.close(handle)
            raise
        if _is_file(handle, path):
            return handle
        os.close(handle)  # its last writer removed it between the two calls above


def _is_file(handle: int, path: Path) -> bool:
    """Whether the name still means the opened file."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
