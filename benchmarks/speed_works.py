"""What is measured, at which points, with which libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import speed_arrays as arrays
import speed_case as ours
import speed_modules as modules
from speed_case import Case, Data, Runner

BASE = Case()
PROFILES = ("dynapse1", "pcm_ibm")
TAPE = 2 * 2**30  # bytes; what would store more for one run is skipped
AXES: dict[str, tuple[Case, ...]] = {
    "neurons": tuple(replace(BASE, neurons=n) for n in (64, 128, 256, 512)),
    "steps": tuple(replace(BASE, steps=t) for t in (50, 100, 250, 500, 1000)),
    "instances": tuple(replace(BASE, instances=k) for k in (1, 4, 16, 64, 256)),
    "rate": tuple(replace(BASE, rate=r) for r in (0.01, 0.03, 0.1, 0.25, 0.5)),
    "spikes": tuple(replace(BASE, spikes=s) for s in (True, False)),
    "surrogate": tuple(replace(BASE, surrogate=s) for s in ("superspike", "triangle")),
}
Make = Callable[[str, Data], Runner]


@dataclass(frozen=True)
class Work:
    """Something that libraries do.

    Attributes:
        make: (library, data) -> what to time.
        libraries: Who does it.
        axes: The axes along which it is measured.
        unit: What one time is for.
    """

    make: Make
    libraries: tuple[str, ...]
    axes: tuple[str, ...]
    unit: str


@dataclass(frozen=True)
class Point:
    """A work at a case, and the axes that it lies on."""

    work: str
    case: Case
    axes: tuple[str, ...]


def inference(library: str, data: Data) -> Runner:
    """Logits, given every chip's parameters."""
    if library in ours.ENGINES:
        return ours.our_inference(data, library)
    others = {"torch": arrays.torch_inference, "jax": arrays.jax_inference}
    return others[library](data) if library in others else modules.inference(library, data)


def training(library: str, data: Data) -> Runner:
    """Forward, cross-entropy, gradients of the weights of both layers and the readout's bias."""
    if library in ours.ENGINES:
        return ours.our_training(data, library)
    return arrays.jax_training(data) if library == "jax" else modules.training(library, data)


def adversarial(library: str, data: Data) -> Runner:
    """Ours: the whole adversarial step. The others: one plain training step."""
    return ours.our_adversarial_step(data, library) if library in ours.ENGINES else training(library, data)


def monte_carlo(profile: str) -> Make:
    """From (profile, seed) to every chip's accuracy; the others draw with numpy and take no part of the profile."""

    def make(library: str, data: Data) -> Runner:
        few = replace(data, case=replace(data.case, instances=2))  # what the eager engine stores for all does not fit
        functions: dict[str, Callable[[], Runner]] = {
            "numba": lambda: ours.our_monte_carlo(data, "numba", profile),
            "eager": lambda: ours.our_monte_carlo(few, "eager", profile),
            "draws": lambda: ours.our_draws(data, "eager", profile),
            "given parameters": lambda: ours.our_inference(data, "numba"),
            "torch": lambda: arrays.torch_monte_carlo(data),
            "jax": lambda: arrays.jax_monte_carlo(data),
        }
        return functions[library]() if library in functions else modules.monte_carlo(library, data)

    return make


def reads(library: str, data: Data) -> Runner:
    """Inference that reads a crossbar at every step; "numba" is without."""
    return ours.our_inference(data, "numba") if library == "numba" else ours.our_reads(data, library)


SIZES = ("neurons", "steps")
EVERYBODY = (*ours.ENGINES, *modules.PACKAGES)
WORKS = {
    "inference": Work(inference, (*EVERYBODY, "torch", "jax"), (*SIZES, "instances", "rate", "spikes"), "chip"),
    "training": Work(training, (*EVERYBODY, "jax"), (*SIZES, "rate", "spikes", "surrogate"), "step"),
    "adversarial": Work(adversarial, (*ours.ENGINES, "norse"), (), "step"),
    "reads": Work(reads, ("numba", "noise", "noise, ADC"), (), "chip"),
    **{
        f"monte_carlo {profile}": Work(
            monte_carlo(profile), (*ours.ENGINES, "draws", "given parameters", "norse", "torch", "jax"), (), "chip"
        )
        for profile in PROFILES
    },
}


def all_points() -> Iterator[Point]:
    """Every work at the base point and, one axis at a time, around it; works of 1,000 samples at those alone."""
    for name, work in WORKS.items():
        base = replace(BASE, batch=1000) if name.startswith("monte_carlo") else BASE
        yield Point(name, base, work.axes)
        yield from (Point(name, case, (axis,)) for axis in work.axes for case in AXES[axis] if case != BASE)


def quick_points() -> Iterator[tuple[Point, tuple[str, ...]]]:
    """The points of the table of bars, and whom each is measured with."""
    yield Point("inference", BASE, ()), ("numba", "norse", "torch", "jax")
    yield Point("training", BASE, ()), ("numba", "norse", "jax")
    yield Point("training", replace(BASE, surrogate="triangle"), ()), ("numba", "norse")
    yield Point("training", replace(BASE, neurons=128), ()), ("numba", "norse")
    yield Point("adversarial", BASE, ()), ("numba", "norse")


# Tensors [T, B, N] that a run keeps until its end: (inference, for each chip; training).
STORED = {
    "numba": (0, 2),
    "eager": (3, 6),
    "norse": (2, 5),
    "snntorch": (3, 6),
    "spikingjelly": (3, 6),
    "rockpool": (4, 5),
    "torch": (0, 0),
    "jax": (0, 5),
}


def tape(point: Point, library: str) -> int:
    """Bytes that one run keeps over time."""
    per_chip, per_step = STORED.get(library, (0, 0))
    if point.work == "inference":
        return per_chip * point.case.tensor() * (point.case.instances if library == "eager" else 1)
    return per_step * point.case.tensor() if point.work == "training" else 0


def missing(library: str) -> str | None:
    """Why a library cannot be measured here, or None."""
    if library in ours.ENGINES:
        return None if library in ours.engines() else f"this version has no engine {library}"
    if library in (*modules.PACKAGES, "jax") and not modules.installed(library):
        return f"{library} is not installed (extra [bench])"
    return None
