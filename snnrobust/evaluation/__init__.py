"""Evaluation: Monte Carlo over chips, yield with confidence, results in run files."""

from snnrobust.evaluation.attack import attack
from snnrobust.evaluation.bits import Bits, bits_needed
from snnrobust.evaluation.breaking import BreakingLevels, ToleranceAt, breaking_levels, read_breaking_levels
from snnrobust.evaluation.certificates.certificate import Certificate, certify, largest_k
from snnrobust.evaluation.comparison import compare_conditions, compare_methods, paired_difference, yield_difference
from snnrobust.evaluation.landscape import Landscape, slope
from snnrobust.evaluation.landscape_study import LossLandscape, landscape
from snnrobust.evaluation.montecarlo import benchmark, evaluate
from snnrobust.evaluation.observation.behaviour import Behaviour, read_behaviour
from snnrobust.evaluation.observation.study import behaviour
from snnrobust.evaluation.opened import open_results
from snnrobust.evaluation.rare_chips import failures_by_common_factors, failures_by_subsets
from snnrobust.evaluation.requirement import Requirement
from snnrobust.evaluation.results import read_tolerance
from snnrobust.evaluation.sensitivity import Sensitivity, sensitivity
from snnrobust.evaluation.sensitivity_map import SensitivityMap, sensitivity_map
from snnrobust.evaluation.specification import Specification, specify
from snnrobust.evaluation.statistics.quantiles import quantile, simultaneous_confidence
from snnrobust.evaluation.statistics.sequences import Stopping, confidence_sequence
from snnrobust.evaluation.statistics.yields import Summary, Yield, chip_yield, clopper_pearson, wilson
from snnrobust.evaluation.tolerance import Tolerance
from snnrobust.evaluation.tornado import Tornado, tornado
from snnrobust.evaluation.worst_case import WorstCase, worst_case, write_harmful

__all__ = [
    "Behaviour",
    "Bits",
    "BreakingLevels",
    "Certificate",
    "Landscape",
    "LossLandscape",
    "Requirement",
    "Sensitivity",
    "SensitivityMap",
    "Specification",
    "Stopping",
    "Summary",
    "Tolerance",
    "ToleranceAt",
    "Tornado",
    "WorstCase",
    "Yield",
    "attack",
    "behaviour",
    "benchmark",
    "bits_needed",
    "breaking_levels",
    "certify",
    "chip_yield",
    "clopper_pearson",
    "compare_conditions",
    "compare_methods",
    "confidence_sequence",
    "evaluate",
    "failures_by_common_factors",
    "failures_by_subsets",
    "landscape",
    "largest_k",
    "open_results",
    "paired_difference",
    "quantile",
    "read_behaviour",
    "read_breaking_levels",
    "read_tolerance",
    "sensitivity",
    "sensitivity_map",
    "simultaneous_confidence",
    "slope",
    "specify",
    "tornado",
    "wilson",
    "worst_case",
    "write_harmful",
    "yield_difference",
]
