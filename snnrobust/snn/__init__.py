"""Spiking networks: neuron equations, surrogate gradients, layers, networks."""

from snnrobust.snn.layers import ALIF, LIF, NEURONS, Layer, SpikingLayer
from snnrobust.snn.network import Network, Recording
from snnrobust.snn.neurons import Dynamics, State
from snnrobust.snn.presets import PaperCNN, paper_lsnn
from snnrobust.snn.readouts import LI, READOUTS, MeanRate
from snnrobust.snn.reads import Reads
from snnrobust.snn.specs import ROLES, ParameterSpec, spec_of
from snnrobust.snn.surrogates import Surrogate

__all__ = [
    "ALIF",
    "LI",
    "LIF",
    "NEURONS",
    "READOUTS",
    "ROLES",
    "Dynamics",
    "Layer",
    "MeanRate",
    "Network",
    "PaperCNN",
    "ParameterSpec",
    "Reads",
    "Recording",
    "SpikingLayer",
    "State",
    "Surrogate",
    "paper_lsnn",
    "spec_of",
]
