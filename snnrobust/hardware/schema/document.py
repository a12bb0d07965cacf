"""Profile schema, version 1.0: what a YAML file that describes a chip may say.

The models (crossbars: crossbar.py; stored values, limits, faults and events: digital.py; calibration: calibration.py;
temperature and age: environment.py; energy and speed: operation.py) hold structure, types and the
domain of single fields; rules.py holds the rules that relate fields to each other (units that fit a role, evidence for
numbers, ...).
All models are frozen and strict: unknown keys, non-finite numbers and numbers written as text are errors.

Spreads are fractions (0.2 is 20 %, never 20), times are in s, conductances in microsiemens, temperatures
in K. A block that is absent has no effect; its defaults say so.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from snnrobust.errors import ConfigError, unknown
from snnrobust.hardware.schema.base import (
    Block,
    Frozen,
    NonNegative,
    Numbers,
    Positive,
    Probability,
    Role,
    Text,
)
from snnrobust.hardware.schema.calibration import Calibration
from snnrobust.hardware.schema.crossbar import Crossbar
from snnrobust.hardware.schema.digital import Events, Faults, Limits, Quantization
from snnrobust.hardware.schema.environment import Environment
from snnrobust.hardware.schema.operation import Energy, Pelgrom, TimeScale

Distribution = Literal["none", "normal", "lognormal", "truncated_normal", "uniform"]
Granularity = Literal["per_synapse", "per_neuron_type", "per_neuron", "per_column", "per_core", "per_die"]


class Source(Frozen):
    """A citation that blocks refer to by `key`."""

    key: Text
    citation: Text
    doi: Text | None = None
    arxiv: Text | None = None
    url: Text | None = None


# --- parameters: static and temporal spread -----------------------------------------------------------


class Component(Block):
    """One independent contribution to a parameter's spread, driven by standard normal coordinates z.

    Attributes:
        cv: Coefficient of variation, a fraction (mode relative).
        sd: Standard deviation in the parameter's `unit` (mode absolute).
        interval: Between which values cv or sd is known to lie (95 %); explains, and is not simulated.
    """

    cv: NonNegative | None = None
    sd: NonNegative | None = None
    interval: Annotated[tuple[NonNegative, NonNegative], Field(strict=False)] | None = None

    @property
    def spread(self) -> float:
        """`cv` or `sd`, whichever is given; 0 if neither is."""
        return self.cv if self.cv is not None else self.sd or 0.0


class Spatial(Component):
    """A field over the die with unit variance times the spread.

    Attributes:
        kernel: `plane` is a x + b y with a, b ~ N(0, 1); `exponential` is a Gaussian process of covariance
            exp(-d/L), `rbf` of exp(-d^2/(2 L^2)).
        correlation_length: L as a fraction of the edge of the die, the square of the cores in use (exponential and
            rbf only).
    """

    kernel: Literal["plane", "exponential", "rbf"]
    correlation_length: Positive | None = None


class Temporal(Component):
    """Noise that is redrawn while the chip runs.

    Attributes:
        redraw: Once a `trial` (a pass over the data) or every `step`.
        correlation_time: Correlation time in s of noise redrawn every step; None is white.
    """

    redraw: Literal["trial", "step"]
    correlation_time: Positive | None = None


class Components(Frozen):
    """Independent contributions: one z a die, one a core, a field over the die, one an element, temporal.

    The total of the static parts is sqrt(sum spread^2) for a normal; for a lognormal,
    1 + CV^2 = product of (1 + cv^2).
    """

    die: Component | None = None
    core: Component | None = None
    spatial: Spatial | None = None
    device: Component | None = None
    temporal: Temporal | None = None

    def given(self) -> dict[str, Component]:
        """The components present in the file, by name, in a fixed order."""
        names = ("die", "core", "spatial", "device", "temporal")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class LevelDependence(Block):
    """Spread that depends on the nominal value theta (mode relative only).

    The total cv becomes clip(cv (|theta|/r)^exponent, cv_min, cv_max), split over the components in proportion;
    r is `reference` times the median of |theta| over what is not 0 in the tensor, or `reference` itself (see
    `reference_of`).

    Attributes:
        exponent: Power; negative means that small values spread more.
        reference: A multiple of the median, or a value in theta's own unit.
        reference_of: Which of the two: `median` or `value`.
        cv_min: Lower bound of the total cv.
        cv_max: Upper bound of the total cv.
    """

    exponent: float
    reference: Positive = 1.0
    reference_of: Literal["median", "value"] = "median"
    cv_min: NonNegative | None = None
    cv_max: NonNegative | None = None


class Outliers(Block):
    """Frozen anomalous elements: with probability `fraction` the factor is multiplied by `factor` e^{s z}.

    s = sqrt(ln(1 + cv^2)).
    """

    fraction: Probability
    factor: Positive
    cv: NonNegative = 0.0


class Parameter(Block):
    """How one role spreads over elements and chips.

    relative, normal: theta (1 + sum cv_c z_c); relative, lognormal: theta exp(sum s_c z_c) with
    s_c = sqrt(ln(1 + cv_c^2)); absolute: theta + sum sd_c z_c. Relative spread of v_th is relative to
    v_th - v_leak.

    Attributes:
        distribution: Shape; `none` states that the role does not vary.
        mode: `relative` (factor, components give cv) or `absolute` (offset, components give sd).
        unit: Absolute only: `v_th_range` (v_th - v_reset: potentials and bias), `s` (time constants,
            refractory), `parameter` (the parameter's own unit: weights, gain, adaptation).
        granularity: Which elements share one device draw. per_synapse and per_neuron_type are for weights;
            tau_syn may say per_neuron_type, which is per_neuron while a neuron has one synapse type.
        center: What the nominal value is of a lognormal: its `median` or its `mean`.
        components: Contributions to the spread.
        level_dependence: Spread as a function of the nominal value.
        outliers: Frozen anomalous elements.
        clip: [lo, hi] on the factor (relative) or on the value in the parameter's own unit (absolute);
            None is an open end.
    """

    distribution: Distribution
    mode: Literal["relative", "absolute"] = "relative"
    unit: Literal["v_th_range", "s", "parameter"] | None = None
    granularity: Granularity
    center: Literal["median", "mean"] = "median"
    components: Components = Components()
    level_dependence: LevelDependence | None = None
    outliers: Outliers | None = None
    clip: Annotated[tuple[float | None, float | None], Field(strict=False)] | None = None


class Parameters(Frozen):
    """The roles that the profile lists; `recurrent_weight` inherits `weight` when absent (see `get`)."""

    weight: Parameter | None = None
    recurrent_weight: Parameter | None = None
    bias: Parameter | None = None
    gain: Parameter | None = None
    tau_mem: Parameter | None = None
    tau_syn: Parameter | None = None
    v_th: Parameter | None = None
    v_leak: Parameter | None = None
    v_reset: Parameter | None = None
    refractory: Parameter | None = None
    tau_adapt: Parameter | None = None
    adaptation: Parameter | None = None

    def get(self, role: str) -> Parameter | None:
        """The entry that applies to `role`, or None where the profile does not list it.

        Raises:
            ConfigError: If there is no such role.
        """
        if role not in type(self).model_fields:
            raise ConfigError(unknown("role", role, type(self).model_fields))
        own: Parameter | None = getattr(self, role)
        return self.weight if own is None and role == "recurrent_weight" else own

    def given(self) -> dict[str, Parameter]:
        """The entries present in the file, by role, in a fixed order and without inheritance."""
        return {role: getattr(self, role) for role in type(self).model_fields if getattr(self, role) is not None}


CORRELATED = ("per_neuron", "per_column", "per_neuron_type")
"""Granularities at which device draws of different roles can be correlated."""


class Correlation(Block):
    """Correlation between the device z of different roles of one neuron.

    For roles whose devices belong to a neuron (per_neuron, per_column; per_neuron_type: each type with the same
    correlations). A role that the profile or a layer does not have is passed over; recurrent_weight is meant only
    where it is listed itself.

    Attributes:
        order: The roles.
        matrix: Symmetric, 1 on the diagonal, positive semidefinite; rows and columns in that order.
    """

    order: Annotated[tuple[Role, ...], Field(strict=False, min_length=2)]
    matrix: Annotated[tuple[Numbers, ...], Field(strict=False, min_length=2)]


# --- the whole --------------------------------------------------------------------------------------


class Document(Block):
    """The whole of a profile file.

    `evidence` and `source` at this level hold for every block that does not give its own. Kind `relative`
    is the level sweep that `Profile.relative` builds: device spread only, of any width. `process` says what the chip
    is made in, e.g. 180 nm CMOS.
    """

    schema_version: Literal["1.0"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$")]
    kind: Literal["analog_asic", "crossbar", "hybrid", "ideal", "relative"]
    description: str
    process: Text | None = None
    sources: Annotated[tuple[Source, ...], Field(strict=False)] = ()
    parameters: Parameters = Parameters()
    correlation: Correlation | None = None
    quantization: Quantization = Quantization()
    limits: Limits = Limits()
    faults: Faults = Faults()
    events: Events = Events()
    crossbar: Crossbar | None = None
    calibration: Calibration = Calibration()
    environment: Environment = Environment()
    energy: Energy | None = None
    time_scale: TimeScale | None = None
    a_vt: Pelgrom | None = None
