"""Evaluation: Monte Carlo over chips, yield with confidence, results in run files."""

from snnrobust.evaluation.attack import attack
from snnrobust.evaluation.breaking import BreakingLevels, ToleranceAt, breaking_levels, read_breaking_levels
from snnrobust.evaluation.certificate import Certificate, certify, largest_k
from snnrobust.evaluation.comparison import compare_conditions, compare_methods, paired_difference, yield_difference
from snnrobust.evaluation.landscape import Landscape, slope
from snnrobust.evaluation.montecarlo import benchmark, evaluate
from snnrobust.evaluation.quantiles import quantile, simultaneous_confidence
from snnrobust.evaluation.rare_chips import failures_by_common_factors, failures_by_subsets
from snnrobust.evaluation.results import open_results, read_tolerance
from snnrobust.evaluation.sequences import Stopping, confidence_sequence
from snnrobust.evaluation.statistics import Summary, Yield, chip_yield, clopper_pearson, wilson
from snnrobust.evaluation.tolerance import Tolerance
from snnrobust.evaluation.worst_case import WorstCase, worst_case, write_harmful

__all__ = [
    "BreakingLevels",
    "Certificate",
    "Landscape",
    "Stopping",
    "Summary",
    "Tolerance",
    "ToleranceAt",
    "WorstCase",
    "Yield",
    "attack",
    "benchmark",
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
    "largest_k",
    "open_results",
    "paired_difference",
    "quantile",
    "read_breaking_levels",
    "read_tolerance",
    "simultaneous_confidence",
    "slope",
    "wilson",
    "worst_case",
    "write_harmful",
    "yield_difference",
]
