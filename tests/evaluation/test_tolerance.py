"""The table of results as a value."""

import numpy as np
import pytest

from snnrobust.errors import ConfigError, RunFileError
from snnrobust.evaluation import Tolerance
from snnrobust.storage import Group


def some_table(**options):
    table = Tolerance.empty(["a", "b"], ["relative_0.1", "chip"], [0.1, float("nan")], 4, **options)
    rng = np.random.default_rng(0)
    table.measures["accuracy"][:] = rng.uniform(size=(2, 2, 4))
    table.measures["balanced_accuracy"][:] = rng.uniform(size=(2, 2, 4))
    table.measures["nonfinite"][:] = 0
    table.measures["accuracy"][1, 1, 2:] = np.nan
    return table


def test_nothing_is_run_yet():
    table = Tolerance.empty(["a"], ["c"], [0.1], 3)
    assert table.chips == 3
    assert all(np.isnan(values).all() for values in table.measures.values())
    (summary,) = table.summary()
    assert summary.chips == 0


def test_a_row_for_every_model_under_every_condition():
    rows = some_table().summary(0.5)
    assert [(s.condition, s.model, s.chips) for s in rows] == [
        ("relative_0.1", "a", 4),
        ("relative_0.1", "b", 4),
        ("chip", "a", 4),
        ("chip", "b", 2),
    ]
    assert rows[1].mean == pytest.approx(some_table().measures["accuracy"][1, 0].mean())
    balanced = some_table(metric="balanced accuracy")
    assert balanced.summary()[1].mean == pytest.approx(balanced.measures["balanced_accuracy"][1, 0].mean())


def test_a_specification_in_percent_is_refused():
    with pytest.raises(ConfigError, match="specification: 90 must be a fraction from 0 to 1"):
        some_table().summary(90)


def test_a_table_comes_back():
    table = some_table(metric="balanced accuracy", notes={"chip": ("one", "two")}, population="4 chips")
    found = Tolerance.from_group(table.to_group())
    assert (found.models, found.conditions, found.metric) == (table.models, table.conditions, table.metric)
    assert (found.notes, found.population) == ({"chip": ("one", "two")}, "4 chips")
    np.testing.assert_array_equal(found.levels, table.levels)
    for name, values in table.measures.items():
        np.testing.assert_array_equal(found.measures[name], values)


def test_other_groups_are_refused():
    whole = some_table().to_group()
    for missing in ("accuracy", "model"):
        with pytest.raises(RunFileError, match=missing):
            Tolerance.from_group(Group({k: v for k, v in whole.items.items() if k != missing}, whole.attrs))
    with pytest.raises(RunFileError, match="not a table of results"):
        Tolerance.from_group(Group(whole.items, {**whole.attrs, "notes": "[1]"}))
