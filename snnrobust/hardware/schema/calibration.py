"""Profile schema: what a lab can take away of a chip's spread (stages/calibration.py has the equations)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from snnrobust.hardware.schema.base import Bits, Block, NonNegative, Positive, Role


class Residual(Block):
    """Standard deviation after calibration over that before, by role; a role without a ratio is not calibrated."""

    weight: NonNegative | None = None
    recurrent_weight: NonNegative | None = None
    bias: NonNegative | None = None
    gain: NonNegative | None = None
    tau_mem: NonNegative | None = None
    tau_syn: NonNegative | None = None
    v_th: NonNegative | None = None
    v_leak: NonNegative | None = None
    v_reset: NonNegative | None = None
    refractory: NonNegative | None = None
    tau_adapt: NonNegative | None = None
    adaptation: NonNegative | None = None


class Trim(Block):
    """Trim with 2^bits steps over +-range_sigma standard deviations of a parameter.

    Attributes:
        bits: Word length of the trim.
        range_sigma: Half-width of its range, in standard deviations of the parameter.
        granularity: What has a trim of its own; of a finer spread only the mean is mended.
        noise_sigma: Standard deviation of the measurement that a trim is set by, in those of the parameter.
        roles: Parameters that have trims; None for all.
    """

    bits: Bits
    range_sigma: Positive
    granularity: Literal["per_synapse", "per_neuron_type", "per_neuron"] = "per_neuron"
    noise_sigma: NonNegative = 0.0
    roles: Annotated[tuple[Role, ...], Field(strict=False, min_length=1)] | None = None


class Calibration(Block):
    """What a lab removes of the spread: nothing, the core's mean, a trim's range, down to a ratio, a column's gain.

    Attributes:
        mode: What is usual for this chip; a deployment says which mode it takes.
        residual: Numbers of mode residual.
        trim: Numbers of mode trim.
    """

    mode: Literal["none", "core_mean", "trim", "residual", "column_affine"] = "none"
    residual: Residual | None = None
    trim: Trim | None = None
