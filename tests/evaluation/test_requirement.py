"""What a number of failures shows, against the binomial distribution itself."""

import numpy as np
import pytest
from scipy.stats import binom

from snnrobust.errors import ConfigError
from snnrobust.evaluation.requirement import Requirement


@pytest.mark.parametrize(("share", "chips"), [(0.99, 299), (0.99, 2000), (0.95, 59), (0.9, 300), (0.999, 2995)])
def test_the_most_failures_are_those_of_the_exact_test(share, chips):
    """m failures show the yield iff P(at most m failures | yield = share) <= 5 %."""
    most = Requirement(share=share).most_failures(chips)
    assert binom.cdf(most, chips, 1 - share) <= 0.05 < binom.cdf(most + 1, chips, 1 - share)


@pytest.mark.parametrize("share", [0.6, 0.95, 0.99, 0.999])
def test_the_fewest_chips_that_can_show_a_yield(share):
    asked = Requirement(share=share)
    fewest = asked.fewest_chips()
    assert asked.most_failures(fewest) == 0
    with pytest.raises(ConfigError, match=f"at least {fewest} are needed"):
        asked.most_failures(fewest - 1)


def test_verdicts():
    asked = Requirement(share=0.9)
    assert [asked.verdict(asked.observed(passed, 100)) for passed in (96, 90, 80)] == ["pass", "undecided", "fail"]
    np.testing.assert_array_equal(Requirement(accuracy=0.9).passes(np.array([9 / 10, 0.89, 1.0])), [True, False, True])
    assert str(Requirement(accuracy=0.9, share=0.99)) == "at least 99 % of chips reach 90 %"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"accuracy": 90.0}, "accuracy: 90.0"), ({"share": 1.0}, "yield: 1.0"), ({"confidence": 0.5}, "confidence: 0.5")],
)
def test_mistakes_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Requirement(**options)
