"""The chip's time and the network's: an accelerated chip runs 1 s of the network in 1 / time_scale s.

The times and rates of a profile are the chip's own. Steps are converted once, here, to the chip's time, and with them
all that a chip does step by step: jitter and delays move spikes by time_scale times as many steps, background spikes
are as many times rarer in a step, and a run draws its static power for a shorter time. Time since programming, age, and
the times of noise are the chip's time from the start, and time constants are realised relative to the network's.
"""

from __future__ import annotations

from snnrobust.hardware.model import Deployable, KnowsTime
from snnrobust.hardware.schema.operation import TimeScale


def step_on_chip(dt: float, scale: TimeScale | None) -> float:
    """Time in s that the chip takes for a step of `dt` s of the network: dt / time_scale; dt in real time."""
    return dt if scale is None else dt / scale.value


def step_of(net: Deployable, scale: TimeScale | None) -> float | None:
    """Time in s that the chip takes for a step of this network; None where it does not say what a step is."""
    return step_on_chip(net.dt, scale) if isinstance(net, KnowsTime) else None


def remarks(net: Deployable, scale: TimeScale | None) -> list[str]:
    """What a user has to know of an accelerated chip; nothing of one in real time."""
    if scale is None or scale.value == 1:
        return []
    step = step_of(net, scale)
    if step is None:
        return [f"time_scale {scale.value:g} has no effect: the model does not state its time step"]
    return [
        f"time_scale {scale.value:g}: a step takes {step:g} s on the chip, in which events and static power are "
        "counted; times since programming, of age and of noise are the chip's own and stay as they are"
    ]
