"""Timing side by side: interleaved rounds, their median and quartiles, and how busy others kept the machine."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from speed_case import Runner

COMPILED = 120.0  # s that a first run may take, with the compilation of its kernels
SHORTEST, LONGEST = 0.3, 10.0  # s of a run; what is over sooner is repeated within a round, what takes longer left out
PAUSE = 0.005  # s; threads of the library before stop spinning


class Timing(NamedTuple):
    """Seconds of one run, of one chip where a run does several.

    Attributes:
        median: The median round.
        low: The first quartile.
        high: The third quartile.
        repeats: Rounds.
    """

    median: float
    low: float
    high: float
    repeats: int


def seconds(runner: Runner, number: int) -> float:
    """Mean time of `number` runs, for one chip."""
    torch.set_num_threads(runner.torch_threads)
    start = time.perf_counter()
    for _ in range(number):
        runner.call()
    return (time.perf_counter() - start) / (number * runner.chips)


def interleaved(runners: Mapping[str, Runner], rounds: int) -> dict[str, Timing]:
    """Every runner once a round, each round starting with another one; compilation and first touch come before.

    A runner that takes longer than LONGEST is left out.
    """
    number = {}
    for name, runner in runners.items():
        taken = seconds(runner, 1) * runner.chips
        if taken <= COMPILED:  # that, too
            taken = seconds(runner, 1) * runner.chips
        if taken <= LONGEST:
            number[name] = max(1, round(SHORTEST / taken))
    times: dict[str, list[float]] = {name: [] for name in number}
    names = list(number)
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            for n in range(len(names)):
                name = names[(n + turn) % len(names)]
                time.sleep(PAUSE)
                times[name].append(seconds(runners[name], number[name]))
            gc.collect()
    finally:
        gc.enable()
    quartiles = {name: np.quantile(t, (0.25, 0.5, 0.75)) for name, t in times.items()}
    return {name: Timing(float(q[1]), float(q[0]), float(q[2]), rounds) for name, q in quartiles.items()}


class Load:
    """Cores that other processes used since this object was made."""

    def __init__(self) -> None:
        self.start = self._now()

    def cores(self) -> float | None:
        """The mean number of cores; None where the system does not tell."""
        before, now = self.start, self._now()
        if before is None or now is None:
            return None
        wall, busy, own = (b - a for a, b in zip(before, now, strict=True))
        return max(0.0, (busy - own) / wall)

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        """Wall time, CPU time of the whole system, CPU time of this process and its children, in s."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        except OSError:
            return None
        user, nice, system, _idle, _iowait, irq, softirq = (int(f) for f in fields[:7])
        busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
        own = os.times()
        return time.monotonic(), busy, sum(own[:4])
