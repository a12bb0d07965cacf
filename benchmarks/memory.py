r"""Memory that deploying chips adds to that of the imports.

    python benchmarks/memory.py [--chips 10000]

A recurrent network of 256 LIF neurons on 1,000 samples of 100 steps, chips of dynapse1, through `evaluate`. Reads the
peak of the process's resident memory, which Linux and macOS tell.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import torch
from speed_case import Case, build, network

import snnrobust.snn.engines.stack  # noqa: F401 (the engine's imports belong to the imports)
from snnrobust.evaluation.montecarlo import evaluate
from snnrobust.hardware import Chip, load_profile
from snnrobust.snn import Network
from snnrobust.tasks import Split


def peak(who: int = resource.RUSAGE_SELF) -> float:
    """MB of resident memory, at most so far, of this process or of the largest that it has waited for."""
    size = resource.getrusage(who).ru_maxrss
    return size / (1e6 if sys.platform == "darwin" else 1e3)


def workload(neurons: int, samples: int) -> tuple[Network, Split]:
    """A network of the speed benchmarks, and samples for it."""
    data = build(replace(Case(), neurons=neurons, batch=samples, instances=1))
    x, y = np.ascontiguousarray(data.x.transpose(0, 1).numpy()), data.y.numpy()
    split = Split(x, y, np.full(len(y), x.shape[1]), np.arange(len(y)))
    return network(data.case, data.nominal, "auto"), split


def main() -> None:
    """Print the peak after growing numbers of chips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", type=int, default=10_000)
    most = parser.parse_args().chips
    warnings.filterwarnings("ignore", message="relative spread has no effect")
    torch.set_num_threads(1)  # the kernels have threads of their own
    imports = peak()
    (net, split), chip = workload(256, 1000), Chip(load_profile("dynapse1"))
    ready = peak()
    print(f"imports {imports:.0f} MB, with data and network {ready - imports:.0f} MB more")
    for count in sorted({min(16, most), min(100, most), min(1000, most), most}):
        start = time.perf_counter()
        accuracy = evaluate(chip.deploy(net, instances=count, seed=1), split).accuracy
        seconds = time.perf_counter() - start
        print(
            f"{count:6} chips: {peak() - imports:.0f} MB above the imports, {1e3 * seconds / count:.1f} ms a chip, "
            f"mean accuracy {accuracy.mean():.3f}"
        )


if __name__ == "__main__":
    main()
