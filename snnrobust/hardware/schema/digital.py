"""Profile schema: how values are stored, what fits on a chip, what is broken, and what happens to spikes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from snnrobust.hardware.schema.base import (
    Bits,
    Block,
    Count,
    Frozen,
    NonNegative,
    Positive,
    Probability,
    Role,
    Text,
)


class WeightQuantization(Block):
    """How weights are stored.

    Attributes:
        scheme: `uniform`: round(w/D) D, `bits` over the range; `subset_sum`: sums of any of `bits` base currents;
            `per_type`: whole numbers of entries of one of `n_types` types, at most `limits.fan_in` a neuron.
        bits: Word length (uniform), number of base currents (subset_sum).
        signed: Uniform: whether the word holds both signs. Integers -63 .. 63 are 7 bits signed, or, where the sign is
            that of the row, 6 bits unsigned: the same levels. Else the sign is the synapse's type.
        per: What shares one scale, or one set of currents.
        n_types: Number of synapse types, half of them excitatory (per_type).
    """

    scheme: Literal["none", "uniform", "subset_sum", "per_type"] = "none"
    bits: Bits | None = None
    signed: bool = True
    per: Literal["tensor", "column", "core"] = "tensor"
    n_types: Count | None = None


class BiasQuantization(Block):
    """Bias generator: `coarse` ranges a factor `ratio` apart up to `i_max` A, `fine_bits` within each.

    Attributes:
        nonmonotonic: Seven fine steps of each range fall.
        i_reference: Current in A of a typical value (the median of a layer's parameter, the largest of a core's weight
            currents); by default the geometric middle of the full scales, i_max / ratio^((coarse - 1) / 2).
    """

    scheme: Literal["none", "coarse_fine"] = "none"
    coarse: Count | None = None
    fine_bits: Bits | None = None
    ratio: Positive | None = None
    i_max: Positive | None = None
    nonmonotonic: bool = False
    i_reference: Positive | None = None


class Quantization(Frozen):
    """Finite precision of stored values."""

    weight: WeightQuantization = WeightQuantization()
    bias: BiasQuantization = BiasQuantization()


class Limits(Block):
    """What fits on the chip, and what it can do; None is no limit.

    Attributes:
        fan_in: Synapses of a neuron that are not zero, over all its sources; rows, where a row has the sign.
        fan_out: Synapses of a source that are not zero.
        neurons: Neurons of the chip.
        neurons_per_core: Neurons of a core; a layer may be split over cores.
        signed_by: What has the sign: the `type` of a synapse, the `row` of one source (a source with weights of both
            signs takes two rows), or the two sides of a `pair`.
        inputs: What the chip's inputs may be.
        resets: Resets after a spike.
        neuron_kinds: Kinds of layers, readouts included: lif, alif, li, rate, ...
        roles: Parameters that the chip has.
    """

    fan_in: Count | None = None
    fan_out: Count | None = None
    neurons: Count | None = None
    neurons_per_core: Count | None = None
    signed_by: Literal["type", "row", "pair"] | None = None
    inputs: Annotated[tuple[Literal["spikes", "currents"], ...], Field(strict=False, min_length=1)] | None = None
    resets: Annotated[tuple[Literal["hard", "soft"], ...], Field(strict=False, min_length=1)] | None = None
    neuron_kinds: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)] | None = None
    roles: Annotated[tuple[Role, ...], Field(strict=False, min_length=1)] | None = None


class Faults(Block):
    """Probabilities of broken elements, independent unless `clustered`.

    Attributes:
        dead_neuron: A neuron never spikes.
        dead_synapse: A synapse contributes nothing.
        stuck_lrs: A cell is stuck at its low resistance (high conductance).
        stuck_hrs: A cell is stuck at its high resistance (low conductance).
        not_converged: A cell's programming did not reach its target.
        clustered: Dead synapses and faults of cells come in clusters; dead neurons do not.
        known: A test finds the faults, so that training may use their map.
    """

    dead_neuron: Probability = 0.0
    dead_synapse: Probability = 0.0
    stuck_lrs: Probability = 0.0
    stuck_hrs: Probability = 0.0
    not_converged: Probability = 0.0
    clustered: bool = False
    known: bool = False


class Events(Block):
    """What happens to spikes in the digital fabric: loss probability, jitter and delay spread in s, noise in Hz."""

    loss: Probability = 0.0
    jitter_std: NonNegative = 0.0
    delay_std: NonNegative = 0.0
    background_rate: NonNegative = 0.0
