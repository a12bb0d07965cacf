"""Files that are replaced whole, and paths in messages."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

from snnrobust.errors import RunFileError

LEFTOVER_SECONDS = 3600  # no write takes an hour


def one_line(text: str | os.PathLike[str]) -> str:
    """A path or text from elsewhere as one printable line."""
    plain = os.fspath(text)
    return plain if plain.isprintable() else ascii(plain)


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise RunFileError where no file can stand: the path is a folder, or its folder does not exist."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise RunFileError(f"{one_line(path)}: is a folder; needed: a file name")
    if not target.parent.is_dir():
        raise RunFileError(f"{one_line(path)}: folder {one_line(target.parent)} does not exist")


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Put a whole file in place: temporary file in the same folder, fsync, rename, fsync of the folder.

    Raises:
        RunFileError: the file cannot be written; what was at ``path`` is still there.
    """
    target = Path(os.path.realpath(path))  # a link keeps pointing at the file
    check_place(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    _remove_leftovers(target)
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise RunFileError(f"{one_line(path)}: cannot be written ({error.strerror or error})") from None
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a file system that cannot is let be."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_leftovers(target: Path) -> None:
    """Remove the temporary files of this target's writers that were killed."""
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            ours = entry.name.startswith(f".{target.name}.") and entry.name.endswith(".tmp")
            if ours and time.time() - entry.stat().st_mtime > LEFTOVER_SECONDS:
                os.unlink(entry.path)
