"""Claims about chips as text, and whether results show them: `yield(dynapse1, accuracy>=.95) > .97`.

    claim     = quantity (">" | ">=" | "<" | "<=") number
    quantity  = "yield" "(" chip "," "accuracy" ">=" number [network] ")"
              | "quantile" "(" chip "," number [network] ")"
              | "mean" "(" chip [network] ")"
              | "nominal" "(" ["network" "=" name] ")"
    chip      = name ["#" first digits of the profile's hash] ["(" mode of calibration ")"]
    network   = "," "network" "=" name

A name may stand in quotes. Numbers are fractions. `accuracy` is the one that counts on the task. A claim passes where
the whole interval of the quantity lies on its side, fails where none of it does, and is undecided between.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, unknown
from snnrobust.evaluation.requirement import Verdict
from snnrobust.evaluation.statistics.means import mean_interval
from snnrobust.evaluation.statistics.quantiles import quantile
from snnrobust.evaluation.statistics.yields import Yield, chip_yield
from snnrobust.evaluation.tolerance import Tolerance

FUNCTIONS = ("yield", "quantile", "mean", "nominal")
_TOKEN = re.compile(r"\s*(?:(\"[^\"]*\"|'[^']*')|(>=|<=|[><(),=])|([^\s\"'><(),=]+))")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim.

    Attributes:
        text: As it was written.
        function: What is claimed of: one of `FUNCTIONS`.
        chip: Name of the condition; "" of `nominal`.
        digest: First digits of the profile's hash; "" if any profile of the name will do.
        network: Name of the network; None claims it of every one.
        argument: The accuracy of a good chip (`yield`), or which quantile; NaN of the others.
        operator: >, >=, < or <=.
        value: What the quantity is compared with.
    """

    text: str
    function: str
    chip: str
    digest: str
    network: str | None
    argument: float
    operator: str
    value: float


class Judgement(NamedTuple):
    """Whether results show a claim of one network.

    Attributes:
        claim: The claim.
        network: The network.
        verdict: pass, fail or undecided.
        value: The quantity; NaN where no chip was run.
        low: Lower end of its interval.
        high: Upper end.
        about: What was counted, and what the interval is, as a phrase.
    """

    claim: Claim
    network: str
    verdict: Verdict
    value: float
    low: float
    high: float
    about: str


def parse_claim(text: str) -> Claim:
    """The claim that a text makes.

    Raises:
        ConfigError: One line that says what was expected where.
    """
    words = _Words(text)
    function = words.name("a quantity")
    if function not in FUNCTIONS:
        raise words.error(unknown("quantity", function, FUNCTIONS))
    words.take("(")
    chip, digest, argument, network = "", "", math.nan, None
    if function != "nominal":
        chip, digest = words.chip()
    if function == "yield":
        words.take(",")
        measure = words.name("accuracy>=NUMBER")
        if measure != "accuracy":
            raise words.error(unknown("condition on a chip", measure, ("accuracy",)))
        words.take(">=")
        argument = words.fraction("accuracy")
    elif function == "quantile":
        words.take(",")
        argument = words.fraction("share of chips", inside=True)
    if words.next == "network" or (function != "nominal" and words.next == ","):
        if function != "nominal":
            words.take(",")
        words.take("network")
        words.take("=")
        network = words.name("a network")
    words.take(")")
    operator = words.name("one of >, >=, <, <=", any_text=True)
    if operator not in (">", ">=", "<", "<="):
        raise words.error(f"expected one of >, >=, <, <=, not {operator!r}")
    value = words.fraction("what it is compared with")
    if words.next is not None:
        raise words.error(f"{words.next!r} after the end; one claim each")
    return Claim(
        text=" ".join(text.split()), function=function, chip=chip, digest=digest, network=network,
        argument=argument, operator=operator, value=value,
    )  # fmt: skip


def judge(claim: Claim, result: Tolerance, hashes: Mapping[str, str], confidence: float = 0.95) -> list[Judgement]:
    """Whether results show a claim, for each network that it is made of.

    Yields have the interval of the sequential test where chips were simulated until its verdict at this accuracy, else
    that of Clopper and Pearson; quantiles a distribution-free one; means that of `mean_interval`: all two-sided, and of
    at least this coverage for any distribution of accuracies. A chip whose outputs are not all finite fails in a yield
    and is the lowest in a quantile; in a mean its non-finite samples are wrong.

    Args:
        claim: The claim.
        result: The results.
        hashes: Hash of the profile of each condition, by its name.
        confidence: Of each interval.

    Raises:
        ConfigError: If the results have no such network or chip, or a chip of another profile.
    """
    if claim.network is not None and claim.network not in result.models:
        raise ConfigError(f"require: {unknown('network', claim.network, result.models)}")
    if claim.chip and claim.chip not in result.conditions:
        raise ConfigError(f"require: no results of this chip; {unknown('chip', claim.chip, result.conditions)}")
    if claim.digest and not hashes.get(claim.chip, "").startswith(claim.digest):
        theirs = hashes.get(claim.chip, "")[:8]
        raise ConfigError(
            f"require: the results are of {claim.chip}#{theirs or '?'}, not of {claim.chip}#{claim.digest}"
        )
    name = f"{claim.chip}#{hashes[claim.chip][:8]}" if claim.chip in hashes else claim.chip
    found = []
    for network in result.models if claim.network is None else (claim.network,):
        value, low, high, about = _QUANTITIES[claim.function](claim, result, result.models.index(network), confidence)
        about += _not_finite(claim, result, network)
        verdict = _verdict(claim, low, high) if not math.isnan(value) else "undecided"
        found.append(Judgement(claim, network, verdict, value, low, high, about.format(chips=f"chips of {name}")))
    return found


Quantity = tuple[float, float, float, str]


def _yield(claim: Claim, result: Tolerance, m: int, confidence: float) -> Quantity:
    accuracy = result.counted[m, result.conditions.index(claim.chip)]
    if result.stopping is None:
        found = chip_yield(accuracy, claim.argument, confidence)
    elif result.stopping.specification == claim.argument:
        found = result.stopping.decide(accuracy).reached
    else:
        chips = result.stopping.decide(accuracy).reached.chips
        found = chip_yield(accuracy[:chips], claim.argument).without_interval()
    if not found.chips:
        return math.nan, 0.0, 1.0, "no {chips} were run"
    return found.share, found.low, found.high, f"{found.passed:,} of {found.chips:,} {{chips}}, {_interval(found)}"


def _not_finite(claim: Claim, result: Tolerance, network: str) -> str:
    """How many chips gave outputs that are not finite, if any."""
    if not claim.chip:
        return ""
    place = result.models.index(network), result.conditions.index(claim.chip)
    count = int((result.measures["nonfinite"][place] > 0).sum())
    return f", {count:,} with outputs that are not finite" if count else ""


def _interval(found: Yield) -> str:
    why = "; chips were simulated until a verdict at another accuracy" if found.interval == "no interval" else ""
    return found.interval + why


def _quantile(claim: Claim, result: Tolerance, m: int, confidence: float) -> Quantity:
    run = _run(claim, result, m, result.counted)
    if not len(run):
        return math.nan, 0.0, 1.0, "no {chips} were run"
    q = quantile(run, claim.argument, confidence)
    return max(q.value, 0.0), max(q.low, 0.0), min(q.high, 1.0), (
        f"of {len(run):,} {{chips}}, two-sided {100 * confidence:g} % distribution-free interval"
    )  # fmt: skip


def _mean(claim: Claim, result: Tolerance, m: int, confidence: float) -> Quantity:
    run = _run(claim, result, m, result.accuracy)
    if not len(run):
        return math.nan, 0.0, 1.0, "no {chips} were run"
    about = f"over {len(run):,} {{chips}}, two-sided {100 * confidence:g} % interval for any distribution"
    return float(run.mean()), *mean_interval(run, confidence), about


def _run(claim: Claim, result: Tolerance, m: int, accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Accuracies of the chips that were run, where their number was fixed."""
    if result.stopping is not None:
        raise ConfigError(
            f"require: {claim.function} has no interval where chips were simulated until {result.stopping.until}"
        )
    own = accuracy[m, result.conditions.index(claim.chip)]
    return np.asarray(own[~np.isnan(own)])


def _nominal(claim: Claim, result: Tolerance, m: int, confidence: float) -> Quantity:
    value = result.nominal_of(m)
    return value, value, value, f"on {result.samples:,} samples, on no chip; exact on these samples"


_QUANTITIES: dict[str, Callable[[Claim, Tolerance, int, float], Quantity]] = {
    "yield": _yield, "quantile": _quantile, "mean": _mean, "nominal": _nominal,
}  # fmt: skip


def _verdict(claim: Claim, low: float, high: float) -> Verdict:
    """An accuracy is a ratio of counts: 9/10 must meet 0.9 although both are rounded."""
    value, slack = claim.value, 1e-9
    if claim.operator[0] == "<":
        low, high, value = -high, -low, -value
    strict = len(claim.operator) == 1
    if low > value + slack or (not strict and low >= value - slack):
        return "pass"
    if high < value - slack or (strict and high <= value + slack):
        return "fail"
    return "undecided"


class _Words:
    """The words of a claim, read from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.words: list[str] = []
        place = 0
        while place < len(text.rstrip()):
            found = _TOKEN.match(text, place)
            if found is None:
                raise ConfigError(f"require: {' '.join(text.split())!r}: a quote is not closed")
            self.words.append(found.group().strip())
            place = found.end()

    @property
    def next(self) -> str | None:
        """The next word; None at the end."""
        return self.words[self.at] if self.at < len(self.words) else None

    def error(self, why: str) -> ConfigError:
        return ConfigError(f"require: {' '.join(self.text.split())!r}: {why}")

    def take(self, word: str) -> None:
        """Go past this word."""
        if self.next != word:
            raise self.error(f"expected {word!r} {self._before()}, not {self._shown()}")
        self.at += 1

    def name(self, what: str, *, any_text: bool = False) -> str:
        """The next word, without its quotes."""
        word = self.next
        if word is None or (not any_text and word in (">=", "<=", ">", "<", "(", ")", ",", "=")):
            raise self.error(f"expected {what} {self._before()}, not {self._shown()}")
        self.at += 1
        return word[1:-1] if word[0] in "\"'" else word

    def chip(self) -> tuple[str, str]:
        """The name of a condition, and digits of its profile's hash."""
        name, _, digest = self.name("the name of a chip").partition("#")
        if self.next == "(":
            self.take("(")
            name = f"{name} ({self.name('a mode of calibration')})"
            self.take(")")
        return name, digest

    def fraction(self, what: str, *, inside: bool = False) -> float:
        """The next word as a fraction; without the ends, if they make no sense."""
        word = self.name(f"a number ({what})")
        try:
            value = float(word)
        except ValueError:
            raise self.error(f"expected a number ({what}), not {word!r}") from None
        if not 0 <= value <= 1 or (inside and value in (0, 1)):
            raise self.error(f"{what}: {word} must be a fraction from 0 to 1 (0.97 means 97 %)")
        return value

    def _before(self) -> str:
        return f"after {self.words[self.at - 1]!r}" if self.at else "first"

    def _shown(self) -> str:
        return "the end" if self.next is None else repr(self.next)
