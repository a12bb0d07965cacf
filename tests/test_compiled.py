"""Kernels on disk and on threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from snnrobust import compiled
from snnrobust.errors import ConfigError

RUN = """
import torch
import snnrobust.snn as snn
from snnrobust.snn.engines.kernels import backward, forward
net = snn.Network.recurrent(2, 5, 2, engine="numba")
net(torch.ones(4, 3, 2)).sum().backward()
for kernel in (forward.forward, backward.backward):
    print("HITS", sum(kernel.stats.cache_hits.values()), "MISSES", sum(kernel.stats.cache_misses.values()))
print("FOLDER", kernel.stats.cache_path)
"""


def run(**environment):
    done = subprocess.run(
        [sys.executable, "-c", RUN], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout, done.stderr


def test_the_second_process_compiles_nothing(tmp_path):
    given = {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, said = run(**given)
    assert "HITS 0 MISSES 1" in first
    assert said.count("compiling kernels") == 1
    second, said = run(**given)
    assert second.count("HITS 1 MISSES 0") == 2
    assert "compiling" not in said
    assert str(tmp_path) in second


def test_the_first_folder_that_can_be_written_is_taken(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("no folder can be made under a file")
    monkeypatch.setattr(compiled, "_writable", lambda folder: str(tmp_path / "cache") in str(folder))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocked))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert compiled.cache_folder().parent == tmp_path / "cache" / "snnrobust"
    monkeypatch.setattr(compiled, "_writable", lambda folder: False)
    assert compiled.cache_folder() is None


def test_what_can_be_written(tmp_path):
    assert compiled._writable(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    assert not compiled._writable(tmp_path / "file" / "c")


def test_every_job_is_done_once_on_any_threads():
    before = compiled.get_threads()
    done = np.zeros(1000, np.int64)

    def kernel(start, stop, counts):
        counts[start:stop] += 1

    try:
        for threads in (1, 2, 5, 32):
            compiled.set_threads(threads)
            for jobs in (0, 1, 2, 7, 1000):
                done[:] = 0
                compiled.run_jobs(kernel, jobs, done)
                assert done.sum() == jobs
                assert (done[:jobs] == 1).all()
    finally:
        compiled.set_threads(before)
    with pytest.raises(ConfigError, match="threads"):
        compiled.set_threads(0)


def test_an_error_in_a_job_is_raised_and_the_pool_goes_on():
    def kernel(start, stop):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        compiled.run_jobs(kernel, 100)
    compiled.run_jobs(lambda start, stop: None, 100)


def test_several_threads_may_call_at_once():
    def kernel(start, stop, seen):
        seen.append((start, stop, threading.get_ident()))

    def call(n):
        seen = []
        compiled.run_jobs(kernel, n, seen)
        return sum(stop - start for start, stop, _ in seen)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(1, 60))) == list(range(1, 60))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_runs_kernels():
    compiled.run_jobs(lambda start, stop: None, 100)
    child = os.fork()
    if child == 0:
        try:
            compiled.run_jobs(lambda start, stop: None, 100)
        finally:
            os._exit(0)
    deadline = threading.Timer(20, os.kill, (child, 9))
    deadline.start()
    _, status = os.waitpid(child, 0)
    deadline.cancel()
    assert status == 0
