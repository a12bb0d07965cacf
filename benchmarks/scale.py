r"""Ten thousand chips at six levels on one machine: time, rate and memory of a benchmark with a run file.

    python benchmarks/scale.py [--chips 10000] [--workers 1] [--kill] [--quick]

The network and data of `memory.py`, smaller: 128 neurons, 500 samples of 100 steps. With --kill the process is killed
(SIGKILL) when half of the chips are done, and started again; the checksum is that of a run that nothing interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from memory import peak, workload

from snnrobust.evaluation import benchmark
from snnrobust.evaluation.results import read_tolerance
from snnrobust.executor import executor_of
from snnrobust.storage import journal_path
from snnrobust.tasks import Task

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
NEURONS, SAMPLES = 128, 500


def deploy(path: Path, chips: int, workers: int) -> None:
    """Run the benchmark, or what is left of it, and print what it took."""
    warnings.filterwarnings("ignore", message="relative spread has no effect")
    torch.set_num_threads(1)  # the kernels have threads of their own
    net, split = workload(NEURONS, SAMPLES)
    parts = np.where(np.arange(SAMPLES) < 100, 0, 2)  # none are trained on, but a task has some
    task = Task.from_arrays(split.x, split.y, parts, dt=net.dt, classes=[str(c) for c in range(10)])
    before, imports, start = done(path), peak(), time.perf_counter()
    benchmark({"net": net}, LEVELS, task, instances=chips, run=path, executor=executor_of(workers))
    seconds, ran = time.perf_counter() - start, done(path) - before
    print(
        f"{ran} of {chips * len(LEVELS)} chips in {seconds:.1f} s: {ran / seconds:.0f} chips/s, peak memory "
        f"{peak():.0f} MB ({peak() - imports:.0f} MB above imports and data)"
    )
    if workers > 1:
        print(f"the largest of {workers} workers: {peak(resource.RUSAGE_CHILDREN):.0f} MB")


def done(path: Path) -> int:
    """Chips that a run file and its journal hold."""
    return int((~np.isnan(read_tolerance(path)[0].accuracy)).sum()) if path.exists() else 0


def main() -> None:
    """Run it in a process of its own, kill that if asked to, and print the checksum of the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kill", action="store_true", help="kill it half-way, and go on")
    parser.add_argument("--quick", action="store_true", help="300 chips")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    chips = 300 if given.quick else given.chips
    if given.into is not None:
        deploy(given.into, chips, given.workers)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        again = [sys.executable, __file__, "--into", str(path), f"--chips={chips}", f"--workers={given.workers}"]
        if given.kill:
            process = subprocess.Popen(again)
            while process.poll() is None and 2 * done(path) < chips * len(LEVELS):
                time.sleep(0.2)
            process.kill()
            process.wait()
            print(f"killed; kept: {done(path)} chips, {journal_path(path).stat().st_size} bytes of them in the journal")
        subprocess.run(again, check=True)
        accuracy = read_tolerance(path)[0].accuracy
        digest = hashlib.sha256(accuracy.tobytes()).hexdigest()[:16]
        print(f"mean accuracy {accuracy.mean():.4f}, checksum {digest}, run file {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
