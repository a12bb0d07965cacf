"""The normal spread of parameters against rockpool's mismatch generator, by two-sample KS at 1e-3, fixed seeds.

`percent_deviation` there is `sigma_rule` standard deviations: its default of 0.30 is a CV of 10 %.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chip_builder import devices
from scipy import stats

from snnrobust.hardware.profile import Profile

jax = pytest.importorskip("jax")
mismatch = pytest.importorskip("rockpool.transform.mismatch")
LinearJax = pytest.importorskip("rockpool.nn.modules").LinearJax

SHAPE = (100, 200)
W = np.random.default_rng(0).normal(size=SHAPE)


def theirs(seed: int, **arguments: float) -> np.ndarray:
    """Relative deviations of the weights of a layer."""
    layer = LinearJax(SHAPE, weight=W, has_bias=False)
    prototype = {name: name == "weight" for name in mismatch.module_registery(layer)}
    generate = mismatch.mismatch_generator(prototype, **arguments)
    return np.asarray(generate(layer, jax.random.PRNGKey(seed))["weight"], dtype=float) / W - 1


def ours(seed: int, cv: float) -> np.ndarray:
    """Those of `Profile.relative`, whose factors are not bounded either."""
    found = devices(Profile.relative(cv), {"l.weight": torch.from_numpy(W)}, None, seed=seed)["l.weight"]
    return found.numpy() / W - 1


def p_value(a: np.ndarray, b: np.ndarray) -> float:
    return float(stats.ks_2samp(a.ravel(), b.ravel()).pvalue)


@pytest.mark.parametrize("cv", [0.02, 0.1, 0.2, 0.45])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_distribution(cv, seed):
    assert p_value(ours(seed, cv), theirs(seed, percent_deviation=3 * cv, sigma_rule=3.0)) > 1e-3


def test_its_default_is_ten_percent():
    default = theirs(4)
    assert p_value(ours(4, 0.10), default) > 1e-3
    assert p_value(ours(4, 0.11), default) < 1e-3  # what the test can tell
    assert p_value(ours(4, 0.30), default) < 1e-100
