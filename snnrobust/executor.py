"""Who runs the units of a work: this process, or spawned worker processes.

A job is a picklable function of a unit and of nothing else, so that results depend neither on who runs a unit nor on
the order in which units end. Only the caller of `run` writes anything. Another way to run units (several machines) is
another class with `workers` and `run`.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import NamedTuple, Protocol, TypeVar

from snnrobust.errors import ConfigError, WorkerError

U = TypeVar("U")
R = TypeVar("R")

SECONDS_TO_END = 5.0
"""What a worker has to end after it was asked to; then it is killed."""


class Executor(Protocol):
    """Runs the units of a job."""

    @property
    def workers(self) -> int:
        """How many units run at once."""
        ...

    def run(
        self, job: Callable[[U], R], units: Iterable[U], prepare: Callable[[], None] | None = None
    ) -> Generator[tuple[U, R], None, None]:
        """Units and their results as they end; close the iterator to stop what still runs.

        Args:
            job: What gives a unit's result; it reaches each worker once.
            units: Taken one at a time when a worker is free, after all results so far were taken: so that they may
                depend on these.
            prepare: Called once in each worker before its first unit, not where units run in this process.
        """
        ...


@dataclass(frozen=True)
class Serial:
    """Units in this process, one after the other."""

    workers = 1

    def run(
        self, job: Callable[[U], R], units: Iterable[U], prepare: Callable[[], None] | None = None
    ) -> Generator[tuple[U, R], None, None]:
        """See `Executor.run`."""
        for unit in units:
            yield unit, job(unit)


@dataclass(frozen=True)
class Processes:
    """Units in spawned processes, which end with this one, however it ends.

    Spawned, never forked: a fork copies locks that threads hold. So a script that uses it needs the line
    `if __name__ == "__main__":` before what it does.

    Attributes:
        workers: Number of processes.

    Raises:
        ConfigError: If there is not at least one.
    """

    workers: int

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"workers: {self.workers} must be at least 1")

    def run(
        self, job: Callable[[U], R], units: Iterable[U], prepare: Callable[[], None] | None = None
    ) -> Generator[tuple[U, R], None, None]:
        """See `Executor.run`. After an error the units that run come to their end, then it is raised.

        Raises:
            ConfigError: If the job cannot be sent to another process.
            WorkerError: If a worker was killed.
        """
        left = iter(units)
        first = list(islice(left, self.workers))
        if not first:
            return
        with _started(len(first), _packed(job, prepare)) as workers:
            busy: dict[Connection, tuple[_Worker, U]] = {}
            failure: BaseException | None = None
            for worker, unit in zip(workers, first, strict=True):
                worker.give(unit)
                busy[worker.connection] = worker, unit
            while busy:
                for ready in connection.wait(list(busy)):
                    worker, unit = busy.pop(ready)  # type: ignore[call-overload]
                    found = worker.take()
                    if found.error is not None:
                        failure = failure or found.error
                        continue
                    yield unit, found.result
                    for unit in () if failure else islice(left, 1):
                        worker.give(unit)
                        busy[worker.connection] = worker, unit
            if failure is not None:
                raise failure


def executor_of(workers: int) -> Executor:
    """The executor with this many processes; this process where it is one.

    Raises:
        ConfigError: If there is not at least one.
    """
    return Serial() if workers == 1 else Processes(workers)


@dataclass(frozen=True)
class Threads:
    """Prepares a worker: its threads of torch, on whose number sums may depend, and of kernels, on which none do."""

    torch: int
    kernels: int

    @classmethod
    def shared(cls, workers: int) -> Threads:
        """Torch's threads as here, and an equal share of those that kernels have here."""
        import torch

        from snnrobust.compiled import get_threads

        return cls(torch.get_num_threads(), max(1, get_threads() // workers))

    def __call__(self) -> None:
        """Set them."""
        import torch

        from snnrobust.compiled import set_threads

        torch.set_num_threads(self.torch)
        set_threads(self.kernels)


class _Outcome(NamedTuple):
    """What a worker says of a unit."""

    result: object = None
    error: BaseException | None = None


class _Worker(NamedTuple):
    """A worker process, from outside."""

    process: SpawnProcess
    connection: Connection

    @classmethod
    def start(cls) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,), name="snnrobust worker", daemon=True)
        process.start()
        theirs.close()  # the worker has the only one, so that its end is the end of the pipe
        return cls(process, ours)

    def send(self, content: bytes) -> None:
        with suppress(OSError):  # it has ended, which the next `take` reports
            self.connection.send_bytes(content)

    def give(self, unit: object) -> None:
        self.send(pickle.dumps(unit))

    def take(self) -> _Outcome:
        try:
            found: _Outcome = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.process.join(SECONDS_TO_END)
            return _Outcome(error=WorkerError(f"workers: {_ended(self.process.exitcode)}"))
        return found

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(SECONDS_TO_END)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


@contextmanager
def _started(count: int, content: bytes) -> Iterator[list[_Worker]]:
    """Workers that know the job."""
    workers: list[_Worker] = []
    try:
        # Ctrl-C reaches every process of the terminal: workers inherit that it is held back, and end when asked to.
        resource_tracker.ensure_running()  # whose own start, with the first worker, would let it through again
        held = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            for _ in range(count):
                workers.append(_Worker.start())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        for worker in workers:
            worker.send(content)
        yield workers
    finally:
        for worker in workers:
            worker.process.terminate()  # all at once, before the first is waited for
        for worker in workers:
            worker.stop()


def _packed(job: object, prepare: object) -> bytes:
    try:
        return pickle.dumps((job, prepare))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"workers: the network cannot be sent to another process ({error}); define its functions and classes at "
            "the top of a module, or use one worker"
        ) from None


def _ended(code: int | None) -> str:
    kept = "finished blocks are kept, the same command goes on from there"
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        short = ", as it happens where memory runs out: try fewer" if name == "SIGKILL" else ""
        return f"a worker process was killed by {name}{short}; {kept}"
    return (
        f"a worker process ended with exit code {code}; {kept}; "
        'a script that uses workers needs if __name__ == "__main__": before what it does'
    )


def _work(pipe: Connection) -> None:
    """What a worker does: the job's units as they come, until it is ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):  # the parent has ended
        _serve(pipe)


def _serve(pipe: Connection) -> None:
    job, failure, content = None, None, pipe.recv_bytes()
    try:
        job, prepare = pickle.loads(content)
        if prepare is not None:
            prepare()
    except Exception as error:
        failure = error
    while True:
        unit = pickle.loads(pipe.recv_bytes())
        try:
            if failure is not None:
                raise failure
            outcome = _Outcome(job(unit))  # type: ignore[misc]  # there is a job where there is no failure
        except Exception as error:
            outcome = _Outcome(error=error)
        pipe.send_bytes(_portable(outcome))


def _portable(outcome: _Outcome) -> bytes:
    """The outcome as bytes; an error that is none of ours says where it was raised."""
    error = outcome.error
    if error is not None:
        error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        content = pickle.dumps(outcome)
        pickle.loads(content)  # some errors come apart only here
        return content
    except Exception:
        text = f"in a worker process: {type(error).__name__}: {error}" if error else "the result cannot be sent"
        return pickle.dumps(_Outcome(error=RuntimeError(text)))


def _end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, also in the middle of a unit."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
