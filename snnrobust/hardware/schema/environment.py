"""Profile schema: the conditions under which a chip works. Temperatures are in K, times in s."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from snnrobust.hardware.schema.base import Block, NonNegative, Positive, Probability

COLDEST, HOTTEST = 200.0, 450.0
"""Temperatures in K between which the laws are used: a margin around those that silicon is specified for, -40 to 150
degrees Celsius. In colder transistors dopants freeze out, in hotter ones leakage takes over."""
Temperature = Annotated[float, Field(ge=COLDEST, le=HOTTEST)]


class Ageing(Block):
    """Drift of the threshold voltages of subthreshold transistors, dVth = amplitude t^exponent, t the age in s.

    Their currents fall by exp(-kappa dVth / UT); dVth is what current mirrors do not cancel.

    Attributes:
        amplitude: dVth after 1 s, in V.
        exponent: Power of time.
        kappa: Subthreshold slope factor.
    """

    amplitude: NonNegative
    exponent: Positive
    kappa: Probability = 0.7


class Environment(Block):
    """Operating conditions: temperatures in K (200 to 450), times in s; None is not stated.

    Attributes:
        temperature: Temperature of operation.
        temperature_ref: Temperature at which the spreads hold; `temperature` itself where it is not given.
        bias_law: How currents follow temperature: `constant_current` (time constants grow with it), `ptat` (they
            stay); under both the lognormal spreads s fall as 1/T. `ignore` states that nothing changes.
        time_since_programming: Time between programming and use.
        age: Time in use.
        ageing: What age does to the chip.
    """

    temperature: Temperature | None = None
    temperature_ref: Temperature | None = None
    bias_law: Literal["constant_current", "ptat", "ignore"] | None = None
    time_since_programming: NonNegative | None = None
    age: NonNegative | None = None
    ageing: Ageing | None = None

    @property
    def reference(self) -> float | None:
        """The temperature at which the spreads hold; None where no temperature is stated."""
        return self.temperature if self.temperature_ref is None else self.temperature_ref
