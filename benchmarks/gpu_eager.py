"""Time of the eager engine on a CUDA device: Monte-Carlo inference and training step against chips, neurons and steps.

    python benchmarks/gpu_eager.py                     about 10 minutes; results/gpu_eager.csv and gpu_eager.png
    python benchmarks/gpu_eager.py --quick             the base point alone, about a minute

A recurrent LIF layer with synapses (tau_mem 20, tau_syn 5 steps) and an LI readout of 10 outputs; spikes come in with
probability 0.1, and input weights are scaled until the hidden neurons spike in 3 % of all steps. A chip differs from
the next in every parameter, which lies on the device before the clock starts. "training" is forward, cross-entropy and
the gradients of weights and biases. Ways: "eager" calls the engine; "graph" replays it from one CUDA graph; "step"
compiles one time step with torch.compile; "step+graph" is both; "compile" is torch.compile(mode="reduce-overhead") of
the whole run.
"""

from __future__ import annotations

import argparse
import csv
import gc
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnrobust.snn import Network

Run = Callable[[], Any]
B, I, O = 100, 16, 10  # noqa: E741 (samples, inputs, outputs)
RATE, SPREAD = 0.03, 0.1
NEURONS, CHIPS, CHIPS_TRAINED = (64, 128, 256, 512), (1, 16, 64, 256, 1024), (1, 4, 16, 64, 256)
COLUMNS = (
    "work", "way", "tf32", "neurons", "steps", "chips", "rate", "median_ms", "least_ms", "most_ms", "repeats",
    "ms_per_chip", "peak_gib", "launches_per_step", "kernel_ms", "matmul_ms", "note",
)  # fmt: skip


class Point(NamedTuple):
    """One row: which work, how it is run, and its size."""

    work: str
    way: str
    tf32: bool
    neurons: int
    steps: int
    chips: int


def spiking_network(neurons: int) -> tuple[Network, float]:
    """A network on the device whose hidden neurons spike at RATE, by bisection on the input weights, and its rate."""
    net = Network.recurrent(I, neurons, O, dt=1e-3, tau_mem=20e-3, tau_syn=5e-3).cuda()
    x, start = inputs(100), net.layer0.weight.detach().clone()
    low, high, rate = 0.0, 16.0, 0.0
    for _ in range(12):
        factor = (low + high) / 2
        with torch.no_grad():
            net.layer0.weight.copy_(factor * start)
            rate = float(net.record(net.nominal(), x).spikes["layer0"].mean())
        low, high = (factor, high) if rate < RATE else (low, factor)
    return net, rate


def inputs(steps: int) -> Tensor:
    """Input spikes [T, B, I]."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(steps, B, I, generator=generator) < 0.1).float().cuda()


def chips_of(net: Network, count: int) -> dict[str, Tensor]:
    """Parameters [K, ...] that each differ from the nominal ones by a relative normal of SPREAD."""
    generator = torch.Generator("cuda").manual_seed(1)
    return {
        name: p.detach() * (1 + SPREAD * torch.randn(count, *p.shape, device="cuda", generator=generator))
        for name, p in net.nominal().items()
    }


def inference(net: Network, count: int, steps: int) -> Run:
    """Logits of `count` chips."""
    params, x = chips_of(net, count), inputs(steps)

    def run() -> Tensor:
        with torch.no_grad():
            return net.run(params, x)

    return run


def training(net: Network, count: int, steps: int) -> Run:
    """Cross-entropy of `count` chips, and its gradients with respect to weights and biases."""
    params, x = chips_of(net, count), inputs(steps)
    leaves = [p.requires_grad_() for name, p in params.items() if "weight" in name or "bias" in name]
    labels = (torch.arange(B, device="cuda") % O).expand(count, B)

    def run() -> Any:  # noqa: ANN401 (a tuple of tensors)
        logits = net.run(params, x)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return torch.autograd.grad(loss, leaves)

    return run


def graphed(run: Run) -> Run:
    """`run` captured once in a CUDA graph; each call replays it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = run()

    def replay() -> Any:  # noqa: ANN401 (whatever run gives)
        graph.replay()
        return kept

    return replay


def seconds(run: Run, budget: float = 1.0) -> list[float]:
    """Times of 3 to 9 calls after two that warm up, host clock, device synchronised."""
    times: list[float] = []
    for index in range(11):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        if index >= 2:
            times.append(time.perf_counter() - start)
        if len(times) >= 3 and sum(times) > budget:
            break
    return times


def kernels(run: Run) -> dict[str, float]:
    """Launches of one call, the time of all kernels and that of matrix products, in ms."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run()
        torch.cuda.synchronize()
    events = [e for e in profile.events() if e.device_type.name == "CUDA"]
    products = [e for e in events if any(w in e.name.lower() for w in ("gemm", "gemv", "nvjet", "cutlass"))]
    return {
        "launches": len(events),
        "kernel_ms": sum(e.time_range.elapsed_us() for e in events) / 1e3,
        "matmul_ms": sum(e.time_range.elapsed_us() for e in products) / 1e3,
    }


@contextmanager
def way_of(net: Network, way: str) -> Iterator[Callable[[Run], Run]]:
    """How a run is to be called, with the network's step compiled meanwhile where the way says so."""
    layer = net.layer0
    if way.startswith("step"):
        torch._dynamo.reset()
        layer.step = torch.compile(layer.step, dynamic=False)
    try:
        yield graphed if way.endswith("graph") else (lambda run: run)
    finally:
        layer.__dict__.pop("step", None)


def measure(point: Point, net: Network, rate: float) -> dict[str, Any]:
    """One row of the table; a point that does not fit the device's memory says so in its note."""
    row = dict.fromkeys(COLUMNS, "") | point._asdict() | {"rate": round(rate, 4)}
    torch.backends.cuda.matmul.allow_tf32 = point.tf32
    work = {"inference": inference, "training": training}[point.work]
    try:
        with way_of(net, point.way) as called:
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            run = called(work(net, point.chips, point.steps))
            times = seconds(run)
            row["peak_gib"] = round((torch.cuda.max_memory_allocated() - before) / 2**30, 3)
            if point.steps == 100 and not point.tf32:
                found = kernels(run)
                row |= {"kernel_ms": round(found["kernel_ms"], 3), "matmul_ms": round(found["matmul_ms"], 3)}
                row["launches_per_step"] = round(found["launches"] / point.steps, 1)
        row |= summary(times, point.chips)
    except torch.cuda.OutOfMemoryError:
        row["note"] = "does not fit"
    except Exception as error:
        row["note"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"
    gc.collect()
    torch.cuda.empty_cache()
    return row


def summary(times: list[float], chips: int) -> dict[str, Any]:
    """Median, least and most in ms, and the median for one chip."""
    median = statistics.median(times) * 1e3
    return {
        "median_ms": round(median, 4),
        "least_ms": round(min(times) * 1e3, 4),
        "most_ms": round(max(times) * 1e3, 4),
        "repeats": len(times),
        "ms_per_chip": round(median / chips, 5),
    }


def same_size(row: dict[str, Any], point: Point) -> bool:
    """Whether a row is of the same work and size as a point, run in any way."""
    return all(row[c] == getattr(point, c) for c in ("work", "neurons", "steps", "chips"))


def points(quick: bool) -> list[Point]:
    """All points, the most wanted first."""
    if quick:
        ways = ("eager", "graph", "step+graph")
        return [Point(w, way, False, 256, 100, k) for w in ("inference", "training") for way in ways for k in (1, 16)]
    chips = {"inference": CHIPS, "training": CHIPS_TRAINED}
    found = [
        Point(work, way, False, n, 100, k)
        for work in chips
        for n in (256, 64, 128, 512)
        for way in ("eager", "graph")
        for k in chips[work]
    ]
    found += [Point(work, "eager", True, n, 100, k) for work in chips for n in (256, 512) for k in chips[work]]
    found += [Point(w, way, False, 256, 100, k) for w in chips for way in ("step", "step+graph") for k in chips[w]]
    found += [Point(work, "eager", False, n, 1000, k) for work in chips for n in NEURONS for k in chips[work][:4]]
    found += [Point(work, "graph", False, 256, 1000, k) for work in chips for k in (1, 16)]
    return found


def whole_run_compiled(rate: float, net: Network, chips: int, limit: int) -> dict[str, Any]:
    """torch.compile of the whole run, all time steps unrolled; gives up after `limit` seconds."""
    row = dict.fromkeys(COLUMNS, "") | Point("inference", "compile", False, 256, 100, chips)._asdict()
    row["rate"] = round(rate, 4)
    torch.backends.cuda.matmul.allow_tf32 = False
    params, x = chips_of(net, chips), inputs(100)

    def give_up(*_: object) -> None:
        raise TimeoutError(f"not compiled after {limit} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(limit)
    try:
        torch._dynamo.reset()
        compiled, start = torch.compile(net.run, mode="reduce-overhead", dynamic=False), time.perf_counter()
        with torch.no_grad():
            compiled(params, x)
            row["note"] = f"compiled in {time.perf_counter() - start:.0f} s"
            row |= summary(seconds(lambda: compiled(params, x)), chips)
    except Exception as error:
        row["note"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"
    finally:
        signal.alarm(0)
    return row


def ceilings() -> list[dict[str, Any]]:
    """What the device itself does: copy, matrix products, launches one by one and from a graph; rates in the note."""
    a, big = torch.randn(4096, 4096, device="cuda"), torch.randn(2**28, device="cuda")
    other, small = torch.empty_like(big), torch.zeros(100, 256, device="cuda")
    o, w = torch.randn(1024, B, 256, device="cuda"), torch.randn(1024, 256, 256, device="cuda")

    def launches() -> None:
        for _ in range(1000):
            small.add_(1)

    work: list[tuple[str, bool, Run, float, str]] = [
        ("copy of 1 GiB", False, lambda: other.copy_(big), 2 * big.nbytes / 1e9, "GB/s"),
        ("matrix product 4096", False, lambda: a @ a, 2 * 4096**3 / 1e12, "TFLOP/s"),
        ("matrix product 4096", True, lambda: a @ a, 2 * 4096**3 / 1e12, "TFLOP/s"),
        ("1024 products [100,256] [256,256]", False, lambda: o @ w.mT, 2 * o.numel() * 256 / 1e12, "TFLOP/s"),
        ("1024 products [100,256] [256,256]", True, lambda: o @ w.mT, 2 * o.numel() * 256 / 1e12, "TFLOP/s"),
        ("1000 additions [100,256]", False, launches, 1000.0, "launches/s"),
        ("1000 additions [100,256] in a graph", False, graphed(launches), 1000.0, "launches/s"),
    ]
    rows = []
    for name, tf32, run, amount, unit in work:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        times = seconds(run)
        row = dict.fromkeys(COLUMNS, "") | {"work": name, "way": "ceiling", "tf32": tf32}
        rows.append(row | summary(times, 1) | {"note": f"{amount / statistics.median(times):.4g} {unit}"})
    return rows


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw(rows: list[dict[str, Any]], path: Path, device: str) -> None:
    """Time per chip against the number of chips, N 256, T 100."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
    for ax, work in zip(axes, ("inference", "training"), strict=True):
        for way, style in (("eager", "o-"), ("graph", "s--"), ("step+graph", "^:")):
            own = [
                (int(r["chips"]), float(r["ms_per_chip"]))
                for r in rows
                if (r["work"], r["way"], str(r["tf32"]), str(r["neurons"]), str(r["steps"]))
                == (work, way, "False", "256", "100")
                and r["ms_per_chip"] != ""
            ]
            if own:
                ax.loglog(*zip(*sorted(own), strict=True), style, markersize=4, label=way)
        ax.set_xscale("log", base=2)
        ax.set(xlabel="chips K", title=f"{work}, N 256, T 100, B 100")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("ms per chip")
    axes[0].legend(frameon=False)
    figure.suptitle(device, fontsize=9)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--limit", type=float, default=480.0, help="no new point after this many seconds")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("gpu_eager: no CUDA device")
    start, device = time.perf_counter(), f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    print(device, flush=True)
    rows, networks = ceilings(), {n: spiking_network(n) for n in ((256,) if arguments.quick else NEURONS)}
    for row in rows:
        print(row["work"], "tf32" if row["tf32"] else "", row["note"], flush=True)
    gc.collect()
    torch.cuda.empty_cache()
    for point in points(arguments.quick):
        if time.perf_counter() - start > arguments.limit:
            rows.append(dict.fromkeys(COLUMNS, "") | point._asdict() | {"note": "no time left"})
            continue
        too_large = [r for r in rows if r["note"] == "does not fit" and r["way"] == "eager" and same_size(r, point)]
        rows.append(too_large[0] | {"way": point.way} if too_large else measure(point, *networks[point.neurons]))
        shown = ("median_ms", "ms_per_chip", "peak_gib", "launches_per_step", "kernel_ms", "matmul_ms", "note")
        print(*point, *(rows[-1][c] for c in shown), flush=True)
        write_csv(rows, arguments.folder / "gpu_eager.csv")
    if not arguments.quick:
        net, rate = networks[256]
        rows.append(whole_run_compiled(rate, net, 16, limit=120))
        print("compile", rows[-1]["median_ms"], rows[-1]["note"], flush=True)
    write_csv(rows, arguments.folder / "gpu_eager.csv")
    draw(rows, arguments.folder / "gpu_eager.png", device)


if __name__ == "__main__":
    main()
