"""Profile schema: what a chip costs to run, how fast it runs, and what its transistors are.

A block that is absent is not known: nothing stands in for it, so that no sum is made of some of its terms.
"""

from __future__ import annotations

from snnrobust.hardware.schema.base import Block, NonNegative, Positive


class Energy(Block):
    """Energy of a computation: static_w x time + the counts of spikes, events and conversions times their energies.

    A term that is not given is not known, and then there is no total.

    Attributes:
        static_w: Power in W that is drawn whether or not anything spikes.
        pj_per_spike: Energy of one spike of a neuron in pJ.
        pj_per_event: Energy of one spike's delivery to one synapse in pJ, routing included.
        pj_per_conversion: Energy of one analog-to-digital conversion in pJ.
    """

    static_w: NonNegative | None = None
    pj_per_spike: NonNegative | None = None
    pj_per_event: NonNegative | None = None
    pj_per_conversion: NonNegative | None = None


class TimeScale(Block):
    """How much faster than its model the chip runs; a chip without it runs in real time.

    Attributes:
        value: A second of the model takes 1/value s on the chip: its time constants are those of the network divided
            by it.
    """

    value: Positive


class Pelgrom(Block):
    """Area law of threshold mismatch between two equal transistors: sigma(dVth) = A_VT / sqrt(W L).

    A single transistor has 1/sqrt(2) of it. It says where spreads come from, and is not simulated itself.
    Pelgrom et al. 1989 (doi:10.1109/JSSC.1989.572629).

    Attributes:
        value: A_VT in mV um.
    """

    value: Positive
