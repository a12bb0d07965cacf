"""Models whose yield has a closed form: the margin of their one test sample is Gaussian, or a product of deviations."""

import math

import numpy as np
import torch
from scipy.special import ndtr

from snnrobust.hardware import Model
from snnrobust.tasks import Task

ROLES = {"weight": [1.0, -1.0], "bias": [0.5, 0.5], "gain": [1.5, -2.0]}
"""theta by role; the margin moves by sum theta_i s z_i, so that the gain, of norm 2.5, is the fragile one."""


def one_sample():
    """Two training samples of each class and one test sample of class 0: a chip passes or it does not."""
    x = np.ones((5, 1, 1), np.float32)
    return Task.from_arrays(x, np.array([0, 1, 0, 1, 0]), np.array([0, 0, 0, 0, 2]), dt=1e-3, metric="accuracy")


def gaussian(margin=1.0, roles=ROLES):
    """Logits (margin + sum of all deviations, 0) for every sample: margin N(margin, sum_r s_r^2 |theta_r|^2)."""
    nominal = sum(sum(values) for values in roles.values())

    def logits(params, x):
        score = margin - nominal + torch.cat([p.reshape(-1) for p in params.values()]).sum()
        return torch.stack([score, torch.zeros_like(score)]).expand(x.shape[1], 2)

    params = {
        role: torch.tensor([values] if role == "weight" else values, dtype=torch.float64)
        for role, values in roles.items()
    }
    return Model(logits, params, {role: role for role in roles})


def norms(roles=ROLES):
    return {role: math.hypot(*values) for role, values in roles.items()}


def yield_of(spreads, margin=1.0, roles=ROLES):
    """P(margin > 0) for these relative spreads by role."""
    variance = sum((spreads[role] * size) ** 2 for role, size in norms(roles).items())
    return float(ndtr(margin / math.sqrt(variance)))


def interacting(strength=2.0, level=1.0):
    """Margin 1 - strength z_w z_b at this level: no chip fails where only one of the two varies; the gain is idle."""

    def logits(params, x):
        product = (params["weight"] - 1).sum() * (params["bias"] - 1).sum() / level**2
        score = 1 - strength * product + 0.01 * (params["gain"] - 1).sum()
        return torch.stack([score, torch.zeros_like(score)]).expand(x.shape[1], 2)

    one = torch.ones(1, dtype=torch.float64)
    params = {"weight": one.reshape(1, 1), "bias": one.clone(), "gain": one.clone()}
    return Model(logits, params, {role: role for role in params})
