r"""How the time of the fused engine grows with chips, steps, batch, neurons and activity, and a model of it.

    python benchmarks/growth.py        about 3 minutes; results/growth.csv

One axis at a time around the base point of `speed.py` for chips, steps and batch, where time should be proportional;
neurons and activity together, for the model of an inference's time per sample and step

    overhead + neuron N + row N (r N)

with r the rate: r N spikes, each of which adds a row of N weights. Printed are its three numbers, fitted where the
weights fit the second-level cache, and how far each point is from it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from speed_case import Case, build, our_inference, our_training
from speed_timing import interleaved

from snnrobust.compiled import available_cores, set_threads

BASE, ROUNDS = Case(), 7
PROPORTIONAL = {
    "instances": (1, 4, 16, 64, 256),
    "steps": (50, 100, 250, 500, 1000),
    "batch": (8, 25, 100, 400, 1000),
}
NEURONS, RATES = (64, 128, 256, 512), (0.01, 0.03, 0.1, 0.25, 0.5)
CACHED = 256  # neurons whose recurrent weights fit 512 kB together with the rest


def measured(case: Case, work: str) -> float:
    """Seconds for one chip, the median."""
    data = build(case)
    runner = our_inference(data, "numba") if work == "inference" else our_training(data, "numba")
    return interleaved({"": runner}, ROUNDS)[""].median


def along_axes() -> Iterator[tuple[str, str, float, float]]:
    """(work, axis, value, seconds) along the axes of which time is proportional."""
    for work in ("inference", "training"):
        for axis, values in PROPORTIONAL.items():
            if work == "training" and axis == "instances":
                continue
            times = [measured(replace(BASE, **{axis: value}), work) for value in values]
            per = 1.0 if axis == "instances" else 0.0
            exponent = np.polyfit(np.log(values), np.log(times), 1)[0] + per
            shown = ", ".join(f"{value}: {1e3 * t:.2f}" for value, t in zip(values, times, strict=True))
            print(f"{work}, {axis}: ms a chip {shown}; grows with power {exponent:.2f}", flush=True)
            yield from ((work, axis, value, t) for value, t in zip(values, times, strict=True))


def over_neurons_and_rates() -> Iterator[tuple[str, str, float, float]]:
    """(inference, "neurons x rate", N + r, seconds): prints the model and its misses."""
    points, times = [], []
    for n in NEURONS:
        for rate in RATES:
            times.append(measured(replace(BASE, neurons=n, rate=rate), "inference"))
            points.append((n, rate))
            yield "inference", "neurons x rate", n + rate, times[-1]
    n, rate = np.array(points).T
    per_step = np.array(times) / (BASE.steps * BASE.batch) * available_cores() * 1e9  # ns of one core
    columns = np.stack([np.ones_like(n), n, n * n * rate], 1)
    fitted = (n <= CACHED) & (rate <= 0.25)
    weights = 1 / per_step[fitted]  # relative misses count
    (overhead, neuron, row), *_ = np.linalg.lstsq(
        columns[fitted] * weights[:, None], per_step[fitted] * weights, rcond=None
    )
    print(
        f"model, ns of one core per sample and step: {overhead:.0f} + {neuron:.3f} N + {row:.4f} N (r N), "
        f"{4 / row:.0f} GB/s of rows"
    )
    predicted = columns @ np.array([overhead, neuron, row])
    for (size, r), t, p in zip(points, per_step, predicted, strict=True):
        print(f"  N {size:4} r {r:.2f}: {t:7.0f} ns, model {p:7.0f}, {t / p - 1:+.0%}")


def main() -> None:
    """Measure, print, and write the CSV."""
    set_threads(available_cores())
    rows = [*along_axes(), *over_neurons_and_rates()]
    path = Path(__file__).parent / "results" / "growth.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("work", "axis", "value", "seconds_a_chip"))
        writer.writerows((work, axis, f"{value:g}", f"{seconds:.6g}") for work, axis, value, seconds in rows)


if __name__ == "__main__":
    main()
