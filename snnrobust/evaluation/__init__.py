"""Evaluation: Monte Carlo over chips, yield with confidence, results in run files."""

from snnrobust.evaluation.attack import attack
from snnrobust.evaluation.bits import Bits, bits_needed
from snnrobust.evaluation.certificate import Certificate, certify, largest_k
from snnrobust.evaluation.landscape import Landscape, slope
from snnrobust.evaluation.montecarlo import benchmark, evaluate
from snnrobust.evaluation.requirement import Requirement
from snnrobust.evaluation.results import open_results, read_tolerance
from snnrobust.evaluation.sensitivity import Sensitivity, sensitivity
from snnrobust.evaluation.sensitivity_map import SensitivityMap, sensitivity_map
from snnrobust.evaluation.specification import Specification, specify
from snnrobust.evaluation.statistics import Summary, Yield, chip_yield, clopper_pearson
from snnrobust.evaluation.tolerance import Tolerance
from snnrobust.evaluation.tornado import Tornado, tornado
from snnrobust.evaluation.worst_case import WorstCase, worst_case, write_harmful

__all__ = [
    "Bits",
    "Certificate",
    "Landscape",
    "Requirement",
    "Sensitivity",
    "SensitivityMap",
    "Specification",
    "Summary",
    "Tolerance",
    "Tornado",
    "WorstCase",
    "Yield",
    "attack",
    "benchmark",
    "bits_needed",
    "certify",
    "chip_yield",
    "clopper_pearson",
    "evaluate",
    "largest_k",
    "open_results",
    "read_tolerance",
    "sensitivity",
    "sensitivity_map",
    "slope",
    "specify",
    "tornado",
    "worst_case",
    "write_harmful",
]
