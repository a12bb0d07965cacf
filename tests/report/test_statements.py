"""What the report says of analyses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from analysis_examples import breaking, rare

from snnrobust.report.sections import _breaking as said_of_breaking
from snnrobust.report.sections import _rare as said_of_rare


def test_a_share_of_rare_failures_stands_with_its_interval() -> None:
    found = rare()
    assert said_of_rare(found)[0] == (
        "0.02 % of the chips miss 90.0 %, under the profile's assumed tail (95 % interval: 0.01-0.04 %)"
    )
    few = found._replace(found=found.found._replace(low=math.nan, high=math.nan))
    assert said_of_rare(few)[0].endswith("(95 % interval: not resolved)")
    none = few._replace(found=few.found._replace(share=0.0))
    assert said_of_rare(none)[0].startswith("no chip was found that misses 90.0 %")


def test_a_tolerance_is_named_only_where_its_interval_is_resolved() -> None:
    few = breaking()
    assert said_of_breaking(few)[0] == f"{few.levels.size} chips do not resolve up to where 99.0 % of all reach 90.0 %"
    levels = np.linspace(0.1, 0.9, 1000)
    many = replace(few, levels=levels, passed=levels[:, None] >= np.array(few.grid))
    said = said_of_breaking(many)[0]
    assert said.startswith("99.0 % of all reach 90.0 % up to 0.108 relative mismatch (95 % interval ")
