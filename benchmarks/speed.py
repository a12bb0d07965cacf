r"""Time of this library beside others: inference on many chips, training steps, from (profile, seed) to accuracy.

    pip install -e '.[bench]'
    python benchmarks/speed.py                         about 20 minutes; results/speed.csv and results/speed.png
    python benchmarks/speed.py --quick --json FILE     the base point alone, about a minute

Works (T 100, B 100, I 16, N 256, 10 outputs, 3 % hidden spikes, inputs spike with probability 0.1, float32):

    inference      logits of K = 16 chips whose parameters are given; time for one chip
    training       forward, cross-entropy, gradients of the hidden layer's two weights and of the readout's weights and
                   bias; surrogate SuperSpike or triangle at slope 1
    adversarial    ours: a whole adversarial step with 10 steps of attack; norse: one plain training step
    reads          inference with noise, and with an ADC for tiles of 64 rows, at every step
    monte_carlo    from (profile, seed) to the accuracy on 1,000 samples; the other libraries draw normals with numpy

Every point is measured in rounds in which each library runs once; printed are the median, the quartiles, and the ratio
to ours. Libraries that do one chip at a time are timed on one, and checked on four. All get the same number of threads.
Before anything is timed, ours is compared with norse. If other processes used more than 0.3 cores in the meantime,
there is no verdict (exit 3).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import speed_limit
import torch
from speed_agreement import agrees_with_norse, same_equations
from speed_case import ENGINES, Case, Data, Runner, build, engines
from speed_figure import draw
from speed_modules import PACKAGES
from speed_modules import inference as looped
from speed_timing import LONGEST, Load, Timing, interleaved
from speed_works import BASE, TAPE, WORKS, Point, all_points, missing, quick_points, tape

from snnrobust.compiled import available_cores, set_threads

HERE = Path(__file__).parent
BUSY, ROUNDS, CHECKED = 0.3, 7, 4
Result = tuple[Point, dict[str, Timing]]
BARS = (
    ("monte_carlo_vs_norse", "inference", BASE, "norse"),
    ("monte_carlo_vs_torch", "inference", BASE, "torch"),
    ("monte_carlo_vs_jax", "inference", BASE, "jax"),
    ("train_superspike_vs_norse", "training", BASE, "norse"),
    ("train_triangle_vs_norse", "training", replace(BASE, surrogate="triangle"), "norse"),
    ("train_n128_vs_norse", "training", replace(BASE, neurons=128), "norse"),
    ("train_vs_jax", "training", BASE, "jax"),
)
KEYS = (*(bar[0] for bar in BARS), "adversarial_step_vs_norse_step", "limit_fraction", "agrees_with_norse", "load")


class Report:
    """Lines for the reader, held back until it is known whether there is a verdict; progress goes to stderr."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, *lines: str) -> None:
        """Say something at the end."""
        self.lines += lines

    def once(self, line: str) -> None:
        """Say something at the end, unless it is said already."""
        if line not in self.lines:
            self.add(line)

    @staticmethod
    def progress(text: str) -> None:
        """Tell a waiting user what is going on, on a terminal."""
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def measure(point: Point, libraries: Iterable[str], rounds: int, report: Report, *, with_limit: bool) -> Result:
    """The timings of a point, and its lines in the report."""
    work, data, runners = WORKS[point.work], build(point.case), {}
    for library in libraries:
        absent, size = missing(library), tape(point, library)
        if absent:
            report.once(f"skipped: {absent}")
        elif size > TAPE:
            report.add(f"skipped: {point.work} {label(point.case)} with {library} would store {size / 2**30:.1f} GiB")
        elif library == "given parameters" and missing("numba"):
            continue
        else:
            runners[library] = work.make(library, data)
    extra: dict[str, Runner] = {}
    if with_limit:
        extra = {f"{name} in a loop": looped(name, data, CHECKED) for name in PACKAGES if name in runners}
        extra |= speed_limit.runners(speed_limit.phases(point.case.neurons, speed_limit.rows_per_step(data)))
    timings = interleaved(runners | extra, rounds)
    for name in runners.keys() - timings.keys():
        report.add(f"skipped: {point.work} {label(point.case)} with {name} takes more than {LONGEST:.0f} s")
    describe(point, data, timings, tuple(name for name in runners if name in timings), report)
    return point, timings


def describe(point: Point, data: Data, timings: dict[str, Timing], libraries: tuple[str, ...], report: Report) -> None:
    """Add a point's lines."""
    reference = our_median(timings)
    report.add(f"{point.work}, ms per {WORKS[point.work].unit}: {label(point.case)}")
    for name in libraries:
        t = timings[name]
        ratio = "" if reference is None else f"  x{t.median / reference:.2f}"
        report.add(f"  {name:16} {t.median * 1e3:9.3f}  [{t.low * 1e3:.3f} .. {t.high * 1e3:.3f}]{ratio}")
    for name in PACKAGES:
        loop = timings.get(f"{name} in a loop")
        if loop:
            report.add(
                f"  {name}: a loop over {CHECKED} chips takes {loop.median / timings[name].median:.2f} a chip of one"
            )
    if "limit: rows" in timings and reference is not None:
        seconds, lines = speed_limit.limit(data, timings)
        report.add(
            *lines, f"  limit of inference {seconds * 1e3:.3f} ms a chip: {seconds / reference:.0%} of it reached"
        )
    if "draws" in timings:
        share = timings["draws"].median / timings.get("given parameters", timings["eager"]).median
        report.add(f"  drawing the chips takes {share:.0%} of the inference with given parameters")


def our_median(timings: dict[str, Timing]) -> float | None:
    """Seconds of the engine of ours that the others are compared with; None where none was measured."""
    return next((timings[name].median for name in ENGINES if name in timings), None)


def _ratio(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else above / below


def label(case: Case) -> str:
    """The sizes, in a line."""
    inputs = "spikes" if case.spikes else "currents"
    sizes = f"T {case.steps} B {case.batch} I {case.inputs} ({inputs}) N {case.neurons} K {case.instances}"
    return f"{sizes}, rate {case.rate:.0%}, {case.surrogate}"


def verdict(results: list[Result], agrees: bool, load: float | None, report: Report) -> dict[str, Any]:
    """The table of bars: ratios of medians, None where a library, or ours, is missing."""
    found = {(point.work, point.case): timings for point, timings in results}
    table: dict[str, Any] = {}
    for name, work, case, library in BARS:
        timings = found[work, case]
        table[name] = _ratio(timings[library].median if library in timings else None, our_median(timings))
        if table[name] is None:
            report.add(f"no {name}: {missing(library) or 'it took too long'}")
    timings = found["adversarial", BASE]
    norse = timings["norse"].median if "norse" in timings else None
    table["adversarial_step_vs_norse_step"] = _ratio(our_median(timings), norse)
    timings = found["inference", BASE]
    table["limit_fraction"] = _ratio(speed_limit.limit(build(BASE), timings)[0], our_median(timings))
    return {**table, "agrees_with_norse": agrees, "load": load}


def write_json(path: Path | None, table: dict[str, Any]) -> None:
    """The table of bars in a file, if one is wanted."""
    if path is not None:
        path.write_text(json.dumps(table, indent=2) + "\n")


def write_csv(results: list[Result], path: Path) -> None:
    """One row a point and library."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = ("steps", "batch", "inputs", "neurons", "instances", "rate", "spikes", "surrogate")
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        header = ("work", "axis", *sizes, "library", "median_s", "low_s", "high_s", "repeats", "ratio_to_ours")
        writer.writerow(header)
        for point, timings in results:
            for name, t in timings.items():
                reference = our_median(timings)
                ratio = "" if reference is None or name.startswith("limit") else f"{t.median / reference:.4g}"
                values = (f"{t.median:.6g}", f"{t.low:.6g}", f"{t.high:.6g}", t.repeats, ratio)
                case = (getattr(point.case, size) for size in sizes)
                axis = point.axes[0] if len(point.axes) == 1 else "base"
                writer.writerow((point.work, axis, *case, name, *values))


def check(report: Report) -> bool:
    """Whether every engine agrees with norse, and the written-out equations with ours; said in the report."""
    checks = [agrees_with_norse(engine) for engine in engines()] + same_equations()
    report.add(*(line for _, line in checks))
    return all(fine for fine, _ in checks)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the table of bars alone")
    parser.add_argument("--json", type=Path, default=None, help="where to write the table of bars")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of every point, 7 by default")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="relative spread has no effect")  # on biases, which are 0 here
    threads, report, load = available_cores(), Report(), Load()
    torch.set_num_threads(threads)
    set_threads(threads)
    report.add(f"{threads} threads for every library; torch {torch.__version__}, engines: {', '.join(engines())}")
    agrees = check(report)
    if not agrees:
        print("\n".join([*report.lines, "error: the results do not agree, nothing is timed"]))
        write_json(arguments.json, dict.fromkeys(KEYS) | {"agrees_with_norse": False})
        return 1
    points = list(quick_points()) if arguments.quick else [(p, WORKS[p.work].libraries) for p in all_points()]
    results: list[Result] = []
    for number, (point, libraries) in enumerate(points):
        report.progress(f"{number + 1} of {len(points)}: {point.work}, {label(point.case)}")
        if missing("numba"):
            libraries = dict.fromkeys("eager" if name == "numba" else name for name in libraries)
            report.once(f"skipped: {missing('numba')}")
        base = point.work == "inference" and point.case == BASE
        results.append(measure(point, libraries, arguments.rounds, report, with_limit=base))
    report.progress("")
    return conclude(results, agrees, load.cores(), report, arguments)


def conclude(
    results: list[Result], agrees: bool, load: float | None, report: Report, arguments: argparse.Namespace
) -> int:
    """Print and write everything, or refuse to: the exit code."""
    table = verdict(results, agrees, load, report)
    refused = load is not None and load > BUSY
    if refused:
        write_json(arguments.json, dict.fromkeys(KEYS) | {"agrees_with_norse": agrees, "load": load})
        print(f"no verdict: other processes used {load:.2f} cores on average, more than {BUSY}")
        return 3
    others = "an unknown number of" if load is None else f"{load:.2f}"
    report.add(f"other processes used {others} cores")
    write_json(arguments.json, table)
    print("\n".join(report.lines))
    for key, value in table.items():
        print(f"{key:32} {value:.3g}" if isinstance(value, float) else f"{key:32} {value}")
    if not arguments.quick:
        write_csv(results, HERE / "results" / "speed.csv")
        draw(results, HERE / "results" / "speed.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
