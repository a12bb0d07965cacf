"""Baselines as the paper's published code runs them, weaker than the methods that they stand for, and its own rows.

They are choices of the objectives of this package, under a name that says so, to compare with the paper's table. What
weakens them: its dropout does not rescale; its AWP goes a tenth of the way into a box of 0.2, so 2 % of |theta|; its
AMP has a ball of one size for all tensors, far below the mismatch; its ABCD does not clip.
"""

from __future__ import annotations

from snnrobust.training.objectives.adversarial import Adversarial
from snnrobust.training.objectives.base import Choices
from snnrobust.training.objectives.dropout import Dropout
from snnrobust.training.objectives.flatness import AMP, AWP
from snnrobust.training.objectives.historic import ABCD, EntropySGD
from snnrobust.training.objectives.noise import RightCensoredNoise

NAMED: dict[str, Choices] = {
    "dropout_as_published": Dropout(rate=0.3, inverted=False),
    "awp_as_published": AWP(radius=0.2, steps=10, gamma=0.1, initial=0.005),
    "amp_as_published": AMP(radius=0.02, steps=10),
    "abcd_as_published": ABCD(share=0.5, rate=0.1, radius=None),
    "entropy_sgd_as_published": EntropySGD(steps=10, rate=0.1, averaging=0.25, noise=1e-4, gamma=1e-2, growth=1e-3),
    "adversarial_as_published": Adversarial(radius=0.1, steps=10, beta=0.25, forward_noise=0.0),
    "adversarial_noise_as_published": Adversarial(radius=0.1, steps=10, beta=0.1, forward_noise=0.3),
    "adversarial_right_censored": Adversarial(forward_noise=RightCensoredNoise()),
}
"""Choices that have a name of their own; "adversarial_right_censored" is A-TRICE, noise and attack together."""
