"""Executors: the same results from all, and what becomes of workers that fail, are killed or lose their parent."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from snnrobust.errors import ConfigError, ShapeError, WorkerError
from snnrobust.executor import Processes, Serial, Threads, executor_of


def square(number):
    return number * number


def process_of(number):
    return os.getpid()


def fails_at_three(number):
    if number == 3:
        raise ShapeError("unit: 3 must be another number")
    return number


def killed_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)  # the other worker is at its unit then
    return number


class AwkwardError(Exception):
    def __init__(self, first, second):
        super().__init__("two arguments")


def raises_awkward(number):
    raise AwkwardError(1, 2)


@dataclass(frozen=True)
class FirstIsSlow:
    """Ends its first unit after all others."""

    folder: Path
    last: int

    def __call__(self, number):
        if number == 0:
            while not (self.folder / str(self.last)).exists():
                time.sleep(0.01)
        (self.folder / str(number)).touch()
        return number


@dataclass(frozen=True)
class Leaves:
    folder: Path

    def __call__(self):
        (self.folder / f"prepared {os.getpid()}").touch()


def running(pid):
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def collect(results, found):
    """Append results one by one, so that those before an error are kept."""
    for pair in results:
        found.append(pair)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_all_units_have_their_results(workers):
    found = dict(executor_of(workers).run(square, range(7)))
    assert found == {n: n * n for n in range(7)}


def test_who_runs_them(tmp_path):
    serial = set(dict(Serial().run(process_of, range(3), Leaves(tmp_path))).values())
    assert serial == {os.getpid()}
    assert not list(tmp_path.iterdir())  # this process is not prepared
    others = dict(Processes(2).run(process_of, range(6), Leaves(tmp_path)))
    assert os.getpid() not in others.values()
    assert len(list(tmp_path.iterdir())) == 2
    assert not any(running(pid) for pid in others.values())
    assert not list(Processes(2).run(process_of, []))


def test_units_end_out_of_order(tmp_path):
    found = list(Processes(2).run(FirstIsSlow(tmp_path, last=4), range(5)))
    assert found[-1] == (0, 0)
    assert [unit for unit, _ in found] == [1, 2, 3, 4, 0]


def test_units_may_depend_on_the_results_so_far():
    seen = []

    def units():
        for number in range(100):
            if sum(seen) >= 30:
                return
            yield number

    for _, result in Processes(2).run(square, units()):
        seen.append(result)
    assert sum(seen) >= 30
    assert len(seen) <= 6  # 0 1 4 9 16, and one that ran already


def test_an_error_of_the_job_is_raised_after_what_runs_has_ended():
    found = []
    with pytest.raises(ShapeError, match="unit: 3") as caught:
        collect(Processes(2).run(fails_at_three, range(3, 9)), found)
    # How many the other worker ends before the first one has started is not known; that it ends what it began, is.
    assert found
    assert found == [(number, number) for number in range(4, 4 + len(found))]
    assert "fails_at_three" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="in a worker process: AwkwardError: two arguments"):
        list(Processes(1).run(raises_awkward, [1]))


def test_a_worker_that_is_killed_is_one_line_and_the_other_ends_its_unit():
    found = []
    with pytest.raises(WorkerError, match="SIGKILL, as it happens where memory runs out: try fewer") as caught:
        collect(Processes(2).run(killed_at_three, range(2, 9)), found)
    numbers = [2, *range(4, 9)]  # all but the one that kills
    assert found
    assert found == [(number, number) for number in numbers[: len(found)]]
    assert "\n" not in str(caught.value)


def test_what_cannot_be_sent_is_refused():
    with pytest.raises(ConfigError, match="workers: the network cannot be sent"):
        list(Processes(2).run(lambda number: number, range(3)))
    with pytest.raises(ConfigError, match="workers: 0 must be at least 1"):
        executor_of(0)


def test_closing_stops_what_still_runs():
    with closing(Processes(2).run(time.sleep, [0, 60, 60])) as found:
        next(found)
        start = time.monotonic()
    assert time.monotonic() - start < 5


def test_kernels_share_the_threads(monkeypatch):
    from snnrobust import compiled

    monkeypatch.setattr(compiled._threads, "count", 8)
    assert [Threads.shared(workers).kernels for workers in (1, 3, 16)] == [8, 2, 1]
    Threads(1, 5)()
    assert compiled.get_threads() == 5


SLEEPS = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_executor import Here
from snnrobust.executor import Processes
if __name__ == "__main__":
    list(Processes(2).run(Here(Path(sys.argv[1])), range(2)))
"""


@dataclass(frozen=True)
class Here:
    """A unit without an end, which says where it runs."""

    folder: Path

    def __call__(self, number):
        (self.folder / str(os.getpid())).touch()
        time.sleep(600)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, how):
    """SIGKILL reaches the parent alone; Ctrl-C all processes of the terminal, of which one says something."""
    script, folder = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(SLEEPS.format(tests=str(Path(__file__).parent)))
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pids = [int(path.name) for path in folder.iterdir()]
    if how == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert err.count("Traceback") == (how == signal.SIGINT)
    deadline = time.monotonic() + 10
    while any(running(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.02)


def test_a_script_without_its_guard_is_told(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from snnrobust.executor import Processes\nprint(list(Processes(1).run(abs, [1])))\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert 'a script that uses workers needs if __name__ == "__main__"' in done.stderr.splitlines()[-1]
