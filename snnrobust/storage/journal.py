"""The journal beside a run file: each finished unit of work, appended so that a killed process loses none.

A file is a magic number and records; the first record is the run's key, every other one a unit. A record is

    length of the id (uint32) | length of the payload (uint64) | id | payload | sha256 of all before

little-endian; a payload is a JSON header ``[[name, dtype, shape], ...]`` on one line, then the arrays' bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, RunFileError
from snnrobust.storage.files import one_line, sync_folder
from snnrobust.storage.lock import open_locked
from snnrobust.storage.tree import check_text, check_values

MAGIC = b"SNNJRNL\x01"
SYNC_SECONDS = 1.0
_LENGTHS = struct.Struct("<IQ")
_DIGEST = hashlib.sha256().digest_size


def journal_path(run: str | os.PathLike[str]) -> Path:
    """Where the journal of a run file lies: ``run.h5`` has ``run.h5.journal``."""
    return Path(f"{os.fspath(run)}.journal")


class Journal:
    """The one writer of a journal; a context manager.

    A record is in the operating system's hands when ``append`` returns, so killing the process loses none; it is
    on the disk at most about a second later, so a dying machine loses the last second.

    Args:
        path: The journal; made where it does not exist. What a killed writer left unfinished at its end is cut off.
        key: The experiment's identity, such as a hash of its configuration.

    Raises:
        RunFileError: another experiment's journal, not a journal, open in another writer, or not writable.
    """

    def __init__(self, path: str | os.PathLike[str], key: str) -> None:
        self.path = Path(path).absolute()
        check_text("key", key)
        self._header = MAGIC + _record("key", key.encode())
        self._guard = threading.Lock()
        self._timer: threading.Timer | None = None
        self._failure: OSError | None = None
        try:
            self._file = open_locked(self.path)
            try:
                self._recover(key)
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            raise self._error(error) from None

    def append(self, unit_id: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add a finished unit; a unit that is added again replaces the earlier one.

        Raises:
            ConfigError: an array of another type than bool, integers, floats or fixed text.
            RunFileError: the disk is full or failed; the journal then ends with the unit before.
        """
        record = _record(unit_id, _pack(arrays))
        with self._guard:
            self._check_open()
            try:
                self._write(record)
            except OSError as error:
                raise self._error(error) from None
            if self._timer is None:
                self._timer = threading.Timer(SYNC_SECONDS, self._sync)
                self._timer.daemon = True
                self._timer.start()

    def clear(self) -> None:
        """Drop all units: they are in the run file now (call it after ``write_run`` returned)."""
        with self._guard:
            self._check_open()
            try:
                os.ftruncate(self._file, len(self._header))
                os.fsync(self._file)
            except OSError as error:
                raise self._error(error) from None

    def close(self, *, remove: bool = False) -> None:
        """Sync and close; ``remove`` deletes the file, whose units are in the run file now."""
        with self._guard:
            if self._file < 0:
                return
            if self._timer is not None:
                self._timer.cancel()
            try:
                if remove:
                    self.path.unlink(missing_ok=True)
                    sync_folder(self.path.parent)
                else:
                    os.fsync(self._file)
            except OSError as error:
                raise self._error(error) from None
            finally:
                os.close(self._file)
                self._file = -1
        self._check_synced()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _recover(self, key: str) -> None:
        """Check whose journal this is, write a header where there is none, cut off an unfinished end."""
        with open(self.path, "rb") as file:
            start = file.read(len(self._header))
            if self._header.startswith(start) and start != self._header:  # new, or killed while it was made
                os.ftruncate(self._file, 0)
                self._write(self._header)
                os.fsync(self._file)
                sync_folder(self.path.parent)
                return
            file.seek(0)
            if not _check_key(self.path, file, key):
                raise RunFileError(f"{one_line(self.path)}: the header is damaged; remove the file to start again")
            end = file.tell()
            for _ in _records(file):
                end = file.tell()
        os.ftruncate(self._file, end)

    def _write(self, content: bytes) -> None:
        """Append all of the bytes or none of them."""
        start = os.lseek(self._file, 0, os.SEEK_END)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except BaseException:
            try:
                os.ftruncate(self._file, start)
            except OSError as error:  # no reader would find what is appended after a torn record
                self._failure = error
            raise

    def _sync(self) -> None:
        with self._guard:
            self._timer = None
            if self._file >= 0:
                try:
                    os.fsync(self._file)
                except OSError as error:  # in a thread of its own: the next call of the owner reports it
                    self._failure = error

    def _check_open(self) -> None:
        if self._file < 0:
            raise RunFileError(f"{one_line(self.path)}: this journal is closed")
        self._check_synced()

    def _check_synced(self) -> None:
        if self._failure is not None:
            raise self._error(self._failure)

    def _error(self, error: OSError) -> RunFileError:
        return RunFileError(f"{one_line(self.path)}: cannot be written ({error.strerror or error})")


def read_journal(path: str | os.PathLike[str], *, key: str | None = None) -> dict[str, dict[str, NDArray[Any]]]:
    """The finished units, unit id to arrays, in order; safe while a writer appends.

    An unfinished or damaged end is ignored. Without a file there are no units: a journal that was folded into its
    run file is gone. Who reads both reads the journal first, so that a fold in between hides nothing.

    Args:
        path: The journal.
        key: The experiment that it must belong to; None takes any.

    Raises:
        RunFileError: not a journal, of another experiment, or not readable.
    """
    try:
        with open(path, "rb") as file:
            if not _check_key(path, file, key):
                return {}
            return {unit_id: _unpack(path, payload) for unit_id, payload in _records(file)}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunFileError(f"{one_line(path)}: cannot be read ({error.strerror or error})") from None


def remove_journal(path: str | os.PathLike[str]) -> None:
    """Delete a journal, whatever it holds; nothing happens if there is none.

    Raises:
        RunFileError: another process is writing it, or it cannot be deleted.
    """
    file = Path(path)
    if not file.exists():
        return
    try:
        handle = open_locked(file)
        try:
            file.unlink(missing_ok=True)
        finally:
            os.close(handle)
    except OSError as error:
        raise RunFileError(f"{one_line(path)}: cannot be removed ({error.strerror or error})") from None


def _check_key(path: str | os.PathLike[str], file: BinaryIO, key: str | None) -> bool:
    """Read the header; False where it is not whole (its writer was killed) or damaged."""
    magic = file.read(len(MAGIC))
    if not MAGIC.startswith(magic[: len(MAGIC) - 1]):
        raise RunFileError(f"{one_line(path)}: is not a journal of a run file")
    if len(magic) == len(MAGIC) and magic != MAGIC:
        raise RunFileError(f"{one_line(path)}: journal version {magic[-1]}; this snnrobust reads {MAGIC[-1]}")
    found = next(_records(file), None)
    if found is None:
        return False
    if key is not None and found[1] != key.encode():
        theirs = found[1].decode(errors="replace")[:80]
        raise RunFileError(f"{one_line(path)}: belongs to another experiment (key {theirs!r}; needed: {key!r})")
    return True


def _records(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Whole records from the file's position on, up to the first that is cut short or damaged."""
    size = os.fstat(file.fileno()).st_size
    while len(lengths := file.read(_LENGTHS.size)) == _LENGTHS.size:
        id_bytes, payload_bytes = _LENGTHS.unpack(lengths)
        if id_bytes + payload_bytes + _DIGEST > size - file.tell():
            return
        body = file.read(id_bytes + payload_bytes)
        if hashlib.sha256(lengths + body).digest() != file.read(_DIGEST):
            return
        yield body[:id_bytes].decode(errors="replace"), body[id_bytes:]


def _record(unit_id: str, payload: bytes) -> bytes:
    check_text("unit id", unit_id)
    name = unit_id.encode()
    content = _LENGTHS.pack(len(name), len(payload)) + name + payload
    return content + hashlib.sha256(content).digest()


def _pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    plain = {name: np.asarray(values) for name, values in arrays.items()}
    for name, values in plain.items():
        check_text("array", name)
        check_values(name, values)
    header = [[name, values.dtype.str, values.shape] for name, values in plain.items()]
    return b"".join([json.dumps(header).encode(), b"\n", *(values.tobytes() for values in plain.values())])


def _unpack(path: str | os.PathLike[str], payload: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a record; it was written whole, so a fault is a forgery or another version."""
    try:
        head, _, content = payload.partition(b"\n")
        stream, arrays = io.BytesIO(content), {}
        for name, dtype, shape in json.loads(head):
            kind = np.dtype(dtype)
            check_values(name, np.empty(0, kind))
            size = math.prod(shape) * kind.itemsize
            part = stream.read(size)
            if len(part) != size:
                raise ValueError(f"{name}: {len(part)} bytes; needed: {size}")
            arrays[name] = np.frombuffer(bytearray(part), kind).reshape(shape)
        return arrays
    except (ValueError, TypeError, OverflowError, ConfigError) as error:
        raise RunFileError(f"{one_line(path)}: a record is not readable ({error})") from None
