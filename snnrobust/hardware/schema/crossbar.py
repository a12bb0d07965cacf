"""Profile schema: arrays of programmable conductances. Conductances are in microsiemens, times in s."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from snnrobust.hardware.schema.base import (
    Bits,
    Block,
    Count,
    Frozen,
    NonNegative,
    Numbers,
    Positive,
    Text,
)


class Curve(Frozen):
    """A function of relative conductance g in [0, 1], in exactly one of three forms.

    `a_ln`, `b`, `min`, `max`: clip(a_ln ln g + b, min, max); `poly`: sum poly_i g^i (ascending);
    `split`, `low`, `high`: `low` below split, `high` above.
    """

    a_ln: float | None = None
    b: float | None = None
    min: float | None = None
    max: float | None = None
    poly: Numbers | None = None
    split: Positive | None = None
    low: Curve | None = None
    high: Curve | None = None


class Mapping(Block):
    """From weight to conductances.

    Attributes:
        scheme: Pair or single-device layout. differential_one_sided: one device of a pair stays at g_min.
        scale: Which weights share one scale factor.
        f: Significance of the devices of an n_pair.
    """

    scheme: Literal["differential_one_sided", "differential_two_sided", "offset", "single_device", "n_pair"]
    scale: Literal["per_tile", "per_column"] = "per_tile"
    f: Numbers | None = None


class Programming(Block):
    """Programming noise: sigma(g) = (sum coefficients_i x^i) g_max/g_max_ref in microsiemens.

    Attributes:
        model: `polynomial`, the one known.
        variable: x: `g_rel` = target/g_max, or `g_uS` = target in microsiemens.
        coefficients: Ascending powers of x, sigma in microsiemens.
        g_max_ref: Largest conductance in microsiemens of the device that was fitted; None: the profile's.
        clip_zero: Programmed conductances below 0 become 0.
    """

    model: Literal["polynomial"]
    variable: Literal["g_rel", "g_uS"]
    coefficients: Numbers
    g_max_ref: Positive | None = None
    clip_zero: bool = True


class TablePoint(Frozen):
    """Total sigma around the target at `time` s: ascending powers of relative conductance, microsiemens."""

    time: NonNegative
    coefficients: Numbers


class LogTime(Frozen):
    """A spread that grows with time: per_ln_t ln(t) + b, in microsiemens."""

    per_ln_t: float
    b: float


class Drift(Block):
    """Change of conductance after programming.

    power_law: g ((t + t0)/t0)^(-nu), nu ~ N(nu_mean(g), nu_std(g)), then `rectify`;
    log_shift: g + mean_per_ln_t ln t with spread `std`, clipped to `clip`;
    table: the total sigma at fixed times; between them only with `interpolate`, which is an assumption.
    """

    model: Literal["none", "power_law", "log_shift", "table"]
    t0: Positive | None = None
    nu_mean: Curve | None = None
    nu_std: Curve | None = None
    rectify: Literal["none", "abs"] = "none"
    mean_per_ln_t: float | None = None
    std: LogTime | None = None
    clip: Annotated[tuple[float | None, float | None], Field(strict=False)] | None = None
    table: Annotated[tuple[TablePoint, ...], Field(strict=False, min_length=1)] | None = None
    interpolate: bool = False


class ReadNoise(Block):
    """Noise of a read.

    pcm_1f: relative sd Q(g) sqrt(ln((t + t_read)/(2 t_read))), Q = min(coefficient g^(-exponent), q_max)
    or the curve `q`; constant: `relative_to_w_max` of the largest weight; log10_g:
    k log10(g) sqrt(ln((t + t_read)/(2 t_read))) in microsiemens. t_read in s.

    1/f noise is split over time (crossbar/read_noise.py): what is slower than a trial is drawn once a trial, what is
    faster than a step at every read, the rest in parts of a trial. Mode `aihwkit` draws all of it at every read, as
    that simulator does; a temporal network averages that away.

    Attributes:
        trial_time: How long a pass over the data takes, s; 100 s is an assumption.
        step_time: Time between two reads of a device, s; 1 ms, the usual time step.
    """

    model: Literal["none", "pcm_1f", "constant", "log10_g"]
    coefficient: NonNegative | None = None
    exponent: float | None = None
    q_max: NonNegative | None = None
    q: Curve | None = None
    t_read: Positive | None = None
    relative_to_w_max: NonNegative | None = None
    k: NonNegative | None = None
    mode: Literal["split", "aihwkit"] = "split"
    trial_time: Positive = 100.0
    step_time: Positive = 1e-3


class CurrentVoltage(Block):
    """Cell characteristic: I = g V (1 + a2 V + a3 V^2), or linear.

    Conductances of the profile are those at the read voltage `v_read` in V (else that of `ir_drop`), which a spike has
    and the largest analog input. a2 is in 1/V, a3 in 1/V^2.
    """

    model: Literal["linear", "cubic"]
    a2: float | None = None
    a3: float | None = None
    v_read: Positive | None = None


class IRDrop(Block):
    """Voltage lost in the wires: r_wire in ohm a cell, read voltage v_read in V.

    nodal: effective conductances of linear cells, exact for word and bit lines; polynomial: aihwkit's, of the currents
    of each step, for bit lines alone.
    """

    model: Literal["none", "polynomial", "nodal"]
    r_wire: NonNegative | None = None
    v_read: Positive | None = None


class DAC(Block):
    """Input converter: `bits` over [-bound, bound] in units of the largest input."""

    bits: Bits
    bound: Positive | None = None


class ADC(Block):
    """Output converter: `bits` over [-bound, bound], noise as a fraction of the unit output.

    Each column of a layer has a converter of its own, before whose steps the output is y (1 + per_column_gain_cv z)
    + per_column_offset z' of the unit output, z and z' standard normal and the chip's own. The unit output is that of
    one cell at g_max for an input of 1.
    """

    bits: Bits
    bound: Positive | None = None
    noise: NonNegative = 0.0
    per_column_gain_cv: NonNegative = 0.0
    per_column_offset: NonNegative = 0.0


class Crossbar(Block):
    """An array of programmable conductances.

    Attributes:
        technology: Name of the device technology, e.g. pcm, rram, sonos.
        g_min: Smallest conductance used, microsiemens.
        g_max: Largest conductance used, microsiemens.
        levels: Number of programmable levels, evenly spaced from g_min to g_max; None is continuous.
        tile: Rows and columns of one array.
        compensation: Drift compensation.
        read: A tile is read where a spike arrives (`event`), or at every step (`clocked`).
    """

    technology: Text
    g_min: NonNegative
    g_max: Positive
    mapping: Mapping
    levels: Annotated[int, Field(ge=2)] | None = None
    programming: Programming | None = None
    drift: Drift | None = None
    read_noise: ReadNoise | None = None
    iv: CurrentVoltage | None = None
    ir_drop: IRDrop | None = None
    dac: DAC | None = None
    adc: ADC | None = None
    tile: Annotated[tuple[Count, Count], Field(strict=False)] | None = None
    compensation: Literal["none", "global", "per_column"] = "none"
    read: Literal["event", "clocked"] = "event"

    @property
    def read_voltage(self) -> float | None:
        """Read voltage in V, None where it is not stated."""
        stated = [part.v_read for part in (self.iv, self.ir_drop) if part is not None and part.v_read is not None]
        return stated[0] if stated else None
