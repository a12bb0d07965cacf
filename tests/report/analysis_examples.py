"""One small result of every kind of analysis, made by hand."""

import numpy as np

from snnrobust.evaluation import (
    Behaviour,
    Bits,
    BreakingLevels,
    Certificate,
    LossLandscape,
    Requirement,
    Sensitivity,
    Specification,
    Tornado,
    WorstCase,
)
from snnrobust.evaluation.bits import Cell
from snnrobust.evaluation.certificates.certificate import Certified
from snnrobust.evaluation.rare import RareFailures
from snnrobust.evaluation.rare_chips import Checked
from snnrobust.evaluation.scores import Scores
from snnrobust.evaluation.specification import Limit
from snnrobust.evaluation.spreads import Knob
from snnrobust.evaluation.tornado import Bar
from snnrobust.hardware import Profile, load_profile
from snnrobust.hardware.schema.uncertain import uncertain

ASKED = Requirement(accuracy=0.9, share=0.8)
CHIPS = 40
POPULATION = "40 simulated test chips (seed 1) on 100 samples of vowels"


def sensitivity():
    """Where weight varies, 12 of 40 chips fail; where tau_mem does, 4; where both do, 15."""
    parts = ("tau_mem", "weight")
    failing = {(): 0, ("tau_mem",): 4, ("weight",): 12, parts: 15}
    scores = {}
    for varied, count in failing.items():
        accuracy = np.where(np.arange(CHIPS) < count, 0.85, 0.95) - 0.001 * (np.arange(CHIPS) % 7) * len(varied) / 7
        accuracy = np.where(np.arange(CHIPS) < count, accuracy, np.maximum(accuracy, 0.9))
        scores[frozenset(varied)] = Scores(accuracy, 10 * accuracy - 8)
    return Sensitivity(load_profile("dynapse1"), parts, "role", scores, ASKED, ("gain is ideal",), POPULATION)


def tornado():
    profile = load_profile("dynapse1")
    yields = [(38, 20), (36, 34), (35, 34)]
    base = ASKED.observed(35, CHIPS)
    bars = []
    for number, (low, high) in zip(uncertain(profile), yields, strict=False):
        ends = ASKED.observed(low, CHIPS), ASKED.observed(high, CHIPS)
        flips = any(ASKED.verdict(end) != ASKED.verdict(base) for end in ends)
        bars.append(Bar(number, *ends, flips, any(not base.low <= end.share <= base.high for end in ends)))
    return Tornado(profile, base, tuple(bars), ASKED, ("a: cannot be",), ("b",), POPULATION)


def specification():
    base = Profile.relative(0.2)
    limits = (
        Limit(Knob("weight", 0.2, 100, "", 0.198), 0.8, 0.7, False, 0.5),
        Limit(Knob("bias", 0.2, 10, "", None), 8.0, None, True, 2.0),
    )
    scaled = base.scaled({"weight": 0.5, "bias": 2.0})
    yields = ASKED.observed(39, CHIPS), ASKED.observed(38, CHIPS)
    return Specification(base, scaled, limits, ASKED, *yields, {"weight": 100.0, "bias": 10.0}, ("n",), POPULATION)


def bits():
    passed = {(0.5, 3): 30, (0.5, 6): 40, (1.0, 3): 20, (1.0, 6): 38}
    cells = tuple(Cell(scale, weight, None, ASKED.observed(p, CHIPS)) for (scale, weight), p in passed.items())
    return Bits(load_profile("dynapse1"), cells, ASKED, (), POPULATION)


def breaking():
    levels = np.linspace(0.1, 1.1, CHIPS)
    levels = np.where(levels > 1, np.inf, levels)
    grid = (0.0, 0.5, 1.0)
    passed = levels[:, None] >= np.array(grid)
    return BreakingLevels("relative level", grid, passed, levels, 0.01, 0.9, "accuracy", POPULATION)


def rare():
    found = RareFailures(2e-4, 1e-4, 4e-4, "subset simulation, 10 runs of 500 chips a level", 10.0, 9000)
    return Checked(found, 0, 0.0, 0.0037, 1000, POPULATION, (), 0.9, "dynapse1")


def worst_case():
    radii = (0.1, 0.2, 0.3)
    gaussian = np.array([[0.95, 0.94, 0.93], [0.93, 0.92, 0.9], [0.9, 0.88, 0.85]])
    attacked = {"task": np.array([0.9, 0.7, 0.3]), "kl": np.array([0.91, 0.72, 0.35])}
    losses = {"task": np.array([0.5, 1.0, 3.0]), "kl": np.array([0.1, 0.4, 1.0])}
    where = ("300 samples of vowels (train)", "100 others (test)")
    return WorstCase(radii, attacked, losses, gaussian, gaussian - 0.02, 0.96, "accuracy", "", None, *where)


def landscape():
    """L = 0.5 + 0.1 |alpha| and 0.5 + 0.3 |alpha| along random directions, 0.5 + alpha^2 along the adversarial one."""
    alphas = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    lines = 0.5 + np.array([0.1, 0.3])[:, None] * np.abs(alphas)
    across = np.array([-2.0, 0.0, 2.0])
    plane = 0.5 + 0.1 * np.abs(across)[:, None] + across**2
    described = ((0.05, 0.2), np.array([0.2, 1.5]), 0.2, "", 9, "mean cross-entropy of 100 test samples of vowels")
    return LossLandscape(alphas, lines, 0.5 + alphas**2, across, plane, *described)


def certificate():
    boxes = tuple(
        Certificate(k, np.arange(10) < count, np.zeros((10, 3)), np.ones((10, 3)), share, ("outliers",))
        for k, count, share in ((0.0, 9, 1.0), (0.001, 4, 0.9), (0.01, 0, 0.5))
    )
    return Certified(boxes, 0.004, 0.0007, "", 10)


def behaviour():
    """Two layers of 10 and 30 neurons on 4 chips; 2 and 3 of them are silent on chips, one of which is not finite."""
    notes = {"late": ("energy not available: the profile states none",)}
    found = Behaviour.empty(
        ["nominal", "late"], {"standard": {"a": 10, "b": 30}}, 4, samples=100, notes=notes, population=POPULATION
    )
    for name in found.measures:
        found.measures[name][...] = np.nan if name == "energy" else 0
    found.measures["accuracy"][0] = [[0.9], [0.8]] * np.ones(4)
    found.measures["agreement"][0] = [[1, 1, 1, 1], [0.9, 0.8, 0.7, 0.6]]
    found.measures["latency"][...] = 0.004
    found.measures["rate"][...] = [10, 50]
    found.measures["silent"][0, 1] = [2, 3]
    found.measures["nonfinite"][0, 1, 2] = 5
    return found


ANALYSES = {
    "sensitivity": ("dynapse1", sensitivity),
    "tornado": ("dynapse1", tornado),
    "specification": ("relative_0.2", specification),
    "bits": ("dynapse1", bits),
    "tolerance": ("relative levels", breaking),
    "rare": ("dynapse1", rare),
    "worst_case": ("relative levels", worst_case),
    "landscape": ("relative levels", landscape),
    "certificate": ("relative levels", certificate),
    "behaviour": ("pcm_ibm", behaviour),
}


def with_analyses(stored, network="standard"):
    """A run file with one analysis of every kind."""
    for kind, (chip, make) in ANALYSES.items():
        stored = stored.put(f"analyses/{kind}/{network} on {chip}", make().to_group())
    return stored
