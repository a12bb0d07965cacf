"""Readers for files from elsewhere.

The HDF5 library can abort the process on malicious or damaged bytes, which no ``except`` catches. So a process of
its own first reads the whole file, with limits, through the code that the reader then uses (``reader.py``). A crash,
a hang or too much memory there is an ordinary error here.

Between vetting and reading, another local process could replace the file. Run files are replaced whole by their own
writer, which is harmless; vetting is no defence against someone who can write to the folder, nor a sandbox against
an exploit of the HDF5 library itself: the vetting process has the rights of its user.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from snnrobust.errors import RunFileError
from snnrobust.storage import reader
from snnrobust.storage.files import one_line
from snnrobust.storage.runfile import read_run
from snnrobust.storage.tree import Group


def open_run(path: str | os.PathLike[str], *, limits: reader.Limits | None = None) -> Group:
    """Vet a run file in a process of its own, then read it.

    Raises:
        RunFileError: missing, not a run file, of a newer format, damaged, over a limit, or deadly to the HDF5 library.
    """
    limits = limits or reader.Limits()
    (problem,) = vet([path], limits=limits)
    if problem is not None:
        raise RunFileError(problem)
    return read_run(path, limits=limits)


def vet(paths: Iterable[str | os.PathLike[str]], *, limits: reader.Limits | None = None) -> list[str | None]:
    """For each file None, or one line that says why it must not be opened.

    One process vets all the files; a new one takes over after a file that ended it.

    Raises:
        RunFileError: the vetting process does not start.
    """
    problems: list[str | None] = []
    with _Vetter(limits or reader.Limits()) as vetter:
        for path in paths:
            reason = vetter.reason(os.path.abspath(path))
            problems.append(None if reason is None else f"{one_line(path)}: {reason}")
    return problems


class _Vetter:
    """The vetting process, started when it is first needed."""

    def __init__(self, limits: reader.Limits) -> None:
        self.limits = limits
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Vetter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.process.kill()
            self.ending()

    def reason(self, path: str) -> str | None:
        """Why a file must not be opened, or None."""
        try:
            reader.check_signature(path)
        except reader.RefusedError as error:
            return str(error)
        if self.process is None:
            self.start()
        answer = self.ask(path)
        if answer:
            return None if (reason := json.loads(answer)) is None else str(reason)
        ending = self.ending()
        if ending == "SIGALRM":
            return f"reading it takes more than {self.limits.seconds:g} s"
        return f"the HDF5 library cannot read it without crashing ({ending})"

    def start(self) -> None:
        """Start a bare interpreter: h5py and numpy are its only packages, the environment cannot change it."""
        folders = {str(Path(str(module.__file__)).parents[1]) for module in (h5py, np)}
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", reader.__file__, reader.settings(self.limits, sorted(folders))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # it computes nothing; threads would only cost time
        )
        if not self.ask(None):
            raise RunFileError(f"the process that vets run files does not start ({self.ending()})")

    def ask(self, path: str | None) -> bytes:
        """Name a file and wait for the line that answers; empty when the process has ended."""
        if self.process is None or self.process.stdin is None or self.process.stdout is None:
            return b""
        try:
            if path is not None:
                self.process.stdin.write(json.dumps(path).encode() + b"\n")
        except BrokenPipeError:
            return b""
        return self.process.stdout.readline()

    def ending(self) -> str:
        """Wait for the end of the process: the name of the signal, or the exit code."""
        if self.process is None:
            return "not started"
        with self.process as process:  # closes the pipes and waits
            self.process = None
        code = process.returncode
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
