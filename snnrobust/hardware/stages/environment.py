"""Temperature and age: what they do to all devices of a chip alike.

UT = k T / q is the thermal voltage. A subthreshold current I0 exp(kappa (Vg - Vth) / UT) and the time constant
tau = C UT / (kappa I) that it sets give the laws

    constant_current    the bias current is held: tau is proportional to T
    ptat                the bias current grows with T, as for a constant transconductance: tau stays
    ignore              nothing changes with T
    age                 dVth = A t^n: currents (weights and bias) times f = exp(-kappa dVth / UT), times set by a
                        current (time constants, refractory) divided by f

Under the first two, lognormal spread follows from threshold voltages, s = kappa sigma_Vth / UT, so that
s(T) = s(T_ref) T_ref / T.
A gain is a ratio of currents and does not age; v_th, v_leak and v_reset are voltages that the biases set.
Chicca et al. 2014 (doi:10.1109/JPROC.2014.2313954) for the time constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from snnrobust.hardware.stages.base import Context, Coordinate, Z

if TYPE_CHECKING:
    from snnrobust.hardware.schema.environment import Environment

BOLTZMANN_OVER_CHARGE = 1.380649e-23 / 1.602176634e-19
"""k / q in V/K, both exact in the SI."""
CURRENTS = ("weight", "recurrent_weight", "bias")
TIME_CONSTANTS = ("tau_mem", "tau_syn", "tau_adapt")


@dataclass(frozen=True)
class Conditions:
    """theta' = factor theta, the same for every device.

    Attributes:
        factor: Of `condition_factor`.
    """

    factor: float

    def coordinates(self) -> tuple[Coordinate, ...]:
        """None: temperature and age are given."""
        return ()

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The value at this temperature and age."""
        return theta * self.factor

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Nothing to project."""
        return {}


def condition_factor(environment: Environment, role: str) -> float:
    """What temperature and age multiply a parameter of this role by; 1 where they do nothing."""
    factor = 1.0
    if role in TIME_CONSTANTS and environment.bias_law == "constant_current":
        factor *= relative_temperature(environment)
    if role in CURRENTS:
        factor *= aged_current(environment)
    if role in (*TIME_CONSTANTS, "refractory"):
        factor /= aged_current(environment)
    return factor


def spread_factor(environment: Environment) -> float:
    """s(T) / s(T_ref) of lognormal spread: T_ref / T, or 1 where temperature is to be ignored."""
    return 1.0 if environment.bias_law in (None, "ignore") else 1 / relative_temperature(environment)


def relative_temperature(environment: Environment) -> float:
    """T / T_ref; 1 where the profile does not state a temperature."""
    temperature, reference = environment.temperature, environment.reference
    return 1.0 if temperature is None or reference is None else temperature / reference


def aged_current(environment: Environment) -> float:
    """f = exp(-kappa dVth / UT) with dVth = A t^n; 1 for a new chip."""
    law, age, temperature = environment.ageing, environment.age, environment.temperature
    if law is None or not age or temperature is None:
        return 1.0
    shift = law.amplitude * age**law.exponent
    return math.exp(-law.kappa * shift / thermal_voltage(temperature))


def thermal_voltage(temperature: float) -> float:
    """k T / q in V for a temperature in K."""
    return BOLTZMANN_OVER_CHARGE * temperature
