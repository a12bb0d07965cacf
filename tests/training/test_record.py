"""A trained network in a run file: what is read is what was written, or an error."""

import numpy as np
import pytest

from snnrobust.errors import RunFileError
from snnrobust.storage import Array
from snnrobust.training import TrainedModel


def test_round_trip(network):
    model = TrainedModel("a", network(), {"task": "vowels", "encoding": "analog"}, {"loss": [2.0, 1.0]}, 1)
    back = TrainedModel.from_group("a", model.to_group())
    assert back.net.hash() == model.net.hash()
    assert (back.config, back.history, back.selected_epoch) == (model.config, model.history, 1)


@pytest.mark.parametrize("change", ["value", "structure", "missing"])
def test_damage_is_noticed(network, change):
    group = TrainedModel("a", network(), {}).to_group()
    if change == "value":
        values = np.array(group.array("parameters/layer0.weight").values)
        values[0, 0] = 0
        group = group.put("parameters/layer0.weight", Array(values))
    elif change == "structure":
        text = str(group.attrs["structure"]).replace('"hard"', '"soft"')
        group = type(group)(group.items, {**group.attrs, "structure": text})
    else:
        group = type(group)(group.items, {k: v for k, v in group.attrs.items() if k != "hash"})
    with pytest.raises(RunFileError, match="models/a: not a complete model"):
        TrainedModel.from_group("a", group)
