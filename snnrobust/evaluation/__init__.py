"""Evaluation: Monte Carlo over chips, yield with confidence, results in run files."""

from snnrobust.evaluation.montecarlo import benchmark, evaluate
from snnrobust.evaluation.results import open_results, read_tolerance
from snnrobust.evaluation.statistics import Summary, Yield, chip_yield, clopper_pearson
from snnrobust.evaluation.tolerance import Tolerance

__all__ = [
    "Summary",
    "Tolerance",
    "Yield",
    "benchmark",
    "chip_yield",
    "clopper_pearson",
    "evaluate",
    "open_results",
    "read_tolerance",
]
