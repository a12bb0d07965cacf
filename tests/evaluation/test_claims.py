"""Claims: the grammar, one line for every mistake, and verdicts that are those of the intervals."""

import math
from dataclasses import replace

import numpy as np
import pytest

from snnrobust.errors import ConfigError
from snnrobust.evaluation import Stopping, Tolerance, chip_yield, clopper_pearson
from snnrobust.evaluation.claims import judge, parse_claim
from snnrobust.evaluation.statistics.means import mean_interval

HASHES = {"dynapse1": "3f2a" + 60 * "0"}


def results(passed, chips=100, models=("a",), **described):
    """Chips of which some reach 95 %, the others 80 %."""
    described = {"samples": 100, **described}
    result = Tolerance.empty(
        models, ["relative_0.3", "dynapse1", "pcm_ibm (trim)"], [0.3, math.nan, math.nan], chips, **described
    )
    for measure in ("accuracy", "balanced_accuracy"):
        result.measures[measure][...] = np.where(np.arange(chips) < passed, 0.95, 0.8)
    result.nominal[...] = 0.97
    return result


def verdict(text, result):
    (found,) = judge(parse_claim(text), result, HASHES)
    return found


class TestGrammar:
    @pytest.mark.parametrize(
        ("text", "fields"),
        [
            ("yield(dynapse1, accuracy>=.95) > .97", ("yield", "dynapse1", "", None, 0.95, ">", 0.97)),
            ("  yield( dynapse1#3f2a ,accuracy >= 0.9)<1e-1", ("yield", "dynapse1", "3f2a", None, 0.9, "<", 0.1)),
            ("yield(pcm_ibm (trim), accuracy>=1)>=0", ("yield", "pcm_ibm (trim)", "", None, 1.0, ">=", 0.0)),
            ("quantile(relative_0.3, .05) >= .9", ("quantile", "relative_0.3", "", None, 0.05, ">=", 0.9)),
            (
                "mean('pcm_ibm (trim)', network='my net') <= .5",
                ("mean", "pcm_ibm (trim)", "", "my net", None, "<=", 0.5),
            ),
            ("nominal() > .9", ("nominal", "", "", None, None, ">", 0.9)),
            ("nominal(network=a) > .9", ("nominal", "", "", "a", None, ">", 0.9)),
            ("yield(x,accuracy>=.9,network=a)>.5", ("yield", "x", "", "a", 0.9, ">", 0.5)),
        ],
    )
    def test_what_is_read(self, text, fields):
        c = parse_claim(text)
        argument = None if math.isnan(c.argument) else c.argument
        assert (c.function, c.chip, c.digest, c.network, argument, c.operator, c.value) == fields

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "expected a quantity first, not the end"),
            ("yeild(dynapse1, accuracy>=.95) > .97", "unknown 'yeild' (did you mean 'yield'?)"),
            ("yield dynapse1", "expected '(' after 'yield', not 'dynapse1'"),
            ("yield(, accuracy>=.9) > .9", "expected the name of a chip after '(', not ','"),
            ("yield(dynapse1) > .97", "expected ',' after 'dynapse1', not ')'"),
            ("yield(dynapse1, acuracy>=.9) > .9", "unknown 'acuracy' (did you mean 'accuracy'?)"),
            ("yield(dynapse1, accuracy>.9) > .9", "expected '>=' after 'accuracy', not '>'"),
            ("yield(dynapse1, accuracy>=95) > .97", "accuracy: 95 must be a fraction from 0 to 1 (0.97 means 97 %)"),
            ("yield(dynapse1, accuracy>=high) > .97", "expected a number (accuracy), not 'high'"),
            ("yield(dynapse1, accuracy>=.9)", "expected one of >, >=, <, <= after ')', not the end"),
            ("yield(dynapse1, accuracy>=.9) = .9", "expected one of >, >=, <, <=, not '='"),
            ("yield(dynapse1, accuracy>=.9) > 97", "97 must be a fraction"),
            ("yield(dynapse1, accuracy>=.9) > nan", "nan must be a fraction"),
            ("yield(dynapse1, accuracy>=.9) > .9 and", "'and' after the end; one claim each"),
            ("quantile(dynapse1, 0) > .9", "share of chips: 0 must be a fraction"),
            ("mean(dynapse1, netwrok=a) > .9", "expected 'network' after ',', not 'netwrok'"),
            ("mean('dynapse1) > .9", "a quote is not closed"),
            ("nominal(dynapse1) > .9", "expected ')' after '(', not 'dynapse1'"),
        ],
    )
    def test_a_mistake_is_one_line_with_the_place(self, text, message):
        with pytest.raises(ConfigError) as error:
            parse_claim(text)
        assert message in str(error.value)
        assert str(error.value).startswith("require: ")
        assert "\n" not in str(error.value)


class TestVerdicts:
    def test_a_yield_is_judged_by_clopper_pearson(self):
        low, high = clopper_pearson(95, 100)
        for value, expected in ((low - 1e-6, "pass"), (0.95, "undecided"), (high + 1e-6, "fail")):
            found = verdict(f"yield(dynapse1, accuracy>=.9) > {value!r}", results(95))
            assert found.verdict == expected
            assert (found.value, found.low, found.high) == (0.95, low, high)
        assert found.about == ("95 of 100 chips of dynapse1#3f2a0000, two-sided 95 % Clopper-Pearson interval")
        assert verdict(f"yield(dynapse1, accuracy>=.9) < {low - 1e-6!r}", results(95)).verdict == "fail"
        assert verdict(f"yield(dynapse1, accuracy>=.9) < {high + 1e-6!r}", results(95)).verdict == "pass"

    def test_the_ends_belong_to_or_equal(self):
        every = results(100)
        assert verdict("yield(dynapse1, accuracy>=.9) <= 1", every).verdict == "pass"
        assert verdict("yield(dynapse1, accuracy>=.9) > 1", every).verdict == "fail"
        assert verdict("yield(dynapse1, accuracy>=.9) >= 1", every).verdict == "undecided"
        assert verdict("nominal() >= .97", every).verdict == "pass"
        assert verdict("nominal() > .97", every).verdict == "fail"

    def test_wrong_verdicts_are_as_rare_as_the_interval_says(self):
        """At a true yield of 0.9 itself, `> .9` passes at most 2.5 % of the time; 4,000 batches of 200 chips."""
        passed = np.random.default_rng(0).binomial(200, 0.9, size=4000)
        kinds, counts = np.unique(passed, return_counts=True)
        wrong = sum(
            n for k, n in zip(kinds, counts, strict=True)
            if verdict("yield(dynapse1, accuracy>=.9) > .9", results(int(k), 200)).verdict == "pass"
        )  # fmt: skip
        assert 0 < wrong / 4000 <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 4000)

    def test_quantiles_have_distribution_free_bounds(self):
        found = verdict("quantile(dynapse1, .05) >= .8", results(100, 200))
        assert (found.value, found.verdict) == (0.8, "pass")
        few = verdict("quantile(dynapse1, .05) >= .9", results(20, 20))
        assert (few.low, few.verdict) == (0.0, "undecided")

    def test_means_have_an_interval_for_any_distribution(self):
        found = verdict("mean(dynapse1) > .85", results(90))
        assert (found.low, found.high) == mean_interval(results(90).accuracy[0, 1])
        assert (found.value, found.verdict) == (pytest.approx(0.935), "pass")
        assert "interval for any distribution" in found.about

    @pytest.mark.parametrize("chips", [1, 2, 10])
    def test_a_few_equal_chips_decide_nothing_close_to_their_mean(self, chips):
        """One dead chip in thirty would bring the mean of chips that reach 95 % below 92 %; ten rarely show it."""
        assert verdict("mean(dynapse1) > .92", results(chips, chips)).verdict == "undecided"

    def test_a_chip_whose_outputs_are_not_finite_fails(self):
        result = results(100)
        result.measures["nonfinite"][...] = np.arange(100) < 3
        found = verdict("yield(dynapse1, accuracy>=.9) > .5", result)
        assert (found.low, found.high) == clopper_pearson(97, 100)
        assert found.about.endswith("interval, 3 with outputs that are not finite")
        assert verdict("yield(dynapse1, accuracy>=0) >= 1", result).verdict == "fail"
        assert verdict("quantile(dynapse1, .01) >= .9", result).value == 0
        stopped = replace(result, stopping=Stopping(until="yield>0.5", specification=0.9))
        assert verdict("yield(dynapse1, accuracy>=.9) > .5", stopped).value < 1

    def test_the_interval_of_a_sequential_test_is_its_own(self):
        stopping = Stopping(until="yield>0.5", specification=0.9)
        result = replace(results(90), stopping=stopping)
        reached = stopping.decide(result.accuracy[0, 1]).reached
        found = verdict("yield(dynapse1, accuracy>=.9) > .5", result)
        assert (found.low, found.high) == (reached.low, reached.high)
        assert "confidence sequence" in found.about
        assert (found.verdict, reached.chips < 100) == ("pass", True)
        other = verdict("yield(dynapse1, accuracy>=.85) > .5", result)
        assert (other.low, other.high, other.verdict) == (0, 1, "undecided")
        with pytest.raises(ConfigError, match=r"mean has no interval where chips were simulated until yield>0.5"):
            verdict("mean(dynapse1) > .5", result)

    def test_chips_that_were_not_run_do_not_count(self):
        result = results(100)
        result.measures["accuracy"][0, 1, 40:] = math.nan
        assert verdict("yield(dynapse1, accuracy>=.9) > .5", result).low == chip_yield(np.full(40, 0.95), 0.9).low
        result.measures["accuracy"][0, 1] = math.nan
        found = verdict("yield(dynapse1, accuracy>=.9) > .5", result)
        assert (found.verdict, found.about) == ("undecided", "no chips of dynapse1#3f2a0000 were run")

    def test_the_accuracy_is_the_one_that_counts(self):
        result = results(100, metric="balanced accuracy")
        result.measures["balanced_accuracy"][...] = 0.5
        assert verdict("yield(dynapse1, accuracy>=.9) > .5", result).verdict == "fail"

    def test_every_network_is_judged_unless_one_is_named(self):
        result = results(100, models=("a", "b"))
        result.measures["accuracy"][1] = 0.5
        claim = "yield(dynapse1, accuracy>=.9{}) > .9"
        found = judge(parse_claim(claim.format("")), result, HASHES)
        assert [(j.network, j.verdict) for j in found] == [("a", "pass"), ("b", "fail")]
        assert verdict(claim.format(", network=a"), result).verdict == "pass"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("mean(dynapse) > .9", "no results of this chip; chip: unknown 'dynapse' (did you mean 'dynapse1'?)"),
            ("mean(dynapse1#77) > .9", "the results are of dynapse1#3f2a0000, not of dynapse1#77"),
            ("mean(relative_0.3#77) > .9", "the results are of relative_0.3#?, not"),
            ("mean(dynapse1, network=c) > .9", "network: unknown 'c'; allowed: a"),
        ],
    )
    def test_what_the_results_have_not(self, text, message):
        with pytest.raises(ConfigError) as error:
            verdict(text, results(100))
        assert message in str(error.value)
