"""What the report says of analyses."""

from __future__ import annotations

import math

from analysis_examples import rare

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
