"""Compiled kernels: where machine code is kept, how a compilation is announced, how jobs run on threads.

Kernels are numba functions of `(start, stop, ...)` that do the jobs start .. stop - 1, each on its own part of the
results. They release the interpreter's lock, so that plain threads run them side by side: no threading layer of numba
is involved, none clashes with torch's, and any thread may call. What a job computes does not depend on the thread.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from snnrobust.errors import ConfigError

_numba: Any = numba.config  # fills itself when it is imported
_PACKAGE = Path(__file__).parent


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Threads:
    """The pool of this process, made at the first use; a forked child makes its own."""

    def __init__(self) -> None:
        self.count: int = min(_numba.NUMBA_NUM_THREADS, available_cores())
        self.pool: ThreadPoolExecutor | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self.pool = None


_threads = _Threads()


def set_threads(count: int) -> None:
    """Run kernels on this many threads from now on; by default on every core, or on NUMBA_NUM_THREADS.

    Results do not depend on it. Torch's own threads are `torch.set_num_threads`.

    Raises:
        ConfigError: If count is below 1.
    """
    if count < 1:
        raise ConfigError(f"threads: {count} must be at least 1")
    _threads.count = count


def get_threads() -> int:
    """Threads that kernels run on."""
    return _threads.count


def run_jobs(kernel: Callable[..., None], jobs: int, *args: Any) -> None:  # noqa: ANN401 (whatever the kernel takes)
    """kernel(start, stop, *args) over consecutive slices of range(jobs), on all threads.

    The calling thread works, too, so that one thread costs no switch.
    """
    count = min(_threads.count, jobs)
    if count <= 1:
        kernel(0, jobs, *args)
        return
    pool = _threads.pool
    if pool is None:
        pool = _threads.pool = ThreadPoolExecutor(available_cores(), thread_name_prefix="snnrobust")
    slices = min(jobs, 4 * count)  # jobs differ in length: a thread that is done early takes another slice
    left = iter(list(pairwise(jobs * n // slices for n in range(slices + 1))))

    def work() -> None:
        for start, stop in left:
            kernel(start, stop, *args)

    others = [pool.submit(work) for _ in range(count - 1)]
    try:
        work()
    finally:
        for other in others:
            other.result()


def kernel(function: Callable[..., Any]) -> Any:  # noqa: ANN401 (numba's dispatcher)
    """Compile a function on first use, keep the machine code on disk, release the interpreter's lock.

    No `fastmath`: sums keep their written order, so results are the same everywhere, and NaN stays NaN.
    """
    before = _numba.CACHE_DIR
    _numba.CACHE_DIR = _CACHE or before
    try:
        return numba.njit(nogil=True, cache=bool(_CACHE), error_model="numpy")(function)
    finally:
        _numba.CACHE_DIR = before


def cache_folder() -> Path | None:
    """Where compiled kernels are kept: the first of these that can be written; None if there is none.

    NUMBA_CACHE_DIR; beside the package; the user's cache; a private folder for temporary files. Each holds one folder
    for each state of the sources: numba itself looks at the file of a kernel alone, not at what it calls.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(_PACKAGE.rglob("*.py")):
        text = path.read_bytes()
        if b"@kernel" in text:  # kernels, and constants that say so
            digest.update(path.name.encode() + text)
    given = os.environ.get("NUMBA_CACHE_DIR")
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    private = f"snnrobust-kernels-{os.getuid() if hasattr(os, 'getuid') else ''}"
    folders = [Path(given)] if given else []
    folders += [_PACKAGE / "__pycache__", Path(user) / "snnrobust", Path(tempfile.gettempdir()) / private]
    for folder in folders:
        chosen = folder / f"kernels-{digest.hexdigest()[:16]}"
        if _writable(chosen):
            return chosen
    return None


def _writable(folder: Path) -> bool:
    """Whether the folder exists or can be made, is this user's, and takes files."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if hasattr(os, "getuid") and folder.stat().st_uid not in (os.getuid(), 0):
            return False  # machine code of others is not to be run
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


class _Announcement(event.Listener):
    """One line before the first compilation of a process."""

    said = False

    def on_start(self, event: event.Event) -> None:
        if not self.said and self._ours(event):
            self.said = True
            print("compiling kernels, once on this machine (up to a minute) ...", file=sys.stderr, flush=True)

    def on_end(self, event: event.Event) -> None:
        """Nothing to say."""

    @staticmethod
    def _ours(event: event.Event) -> bool:
        function = event.data["dispatcher"].py_func
        return str(function.__module__).startswith("snnrobust.")


event.register("numba:compile", _Announcement())  # type: ignore[no-untyped-call]
_found = cache_folder()
_CACHE = str(_found) if _found else ""
