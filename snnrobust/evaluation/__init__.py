"""Evaluation: Monte Carlo over chips, yield with confidence, results in run files."""

from snnrobust.evaluation.attack import attack
from snnrobust.evaluation.certificate import Certificate, certify, largest_k
from snnrobust.evaluation.landscape import Landscape, slope
from snnrobust.evaluation.montecarlo import benchmark, evaluate
from snnrobust.evaluation.results import open_results, read_tolerance
from snnrobust.evaluation.statistics import Summary, Yield, chip_yield, clopper_pearson
from snnrobust.evaluation.tolerance import Tolerance
from snnrobust.evaluation.worst_case import WorstCase, worst_case, write_harmful

__all__ = [
    "Certificate",
    "Landscape",
    "Summary",
    "Tolerance",
    "WorstCase",
    "Yield",
    "attack",
    "benchmark",
    "certify",
    "chip_yield",
    "clopper_pearson",
    "evaluate",
    "largest_k",
    "open_results",
    "read_tolerance",
    "slope",
    "worst_case",
    "write_harmful",
]
