import math
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from report_examples import tolerance, trained

from snnrobust.evaluation import Tolerance
from snnrobust.report import figures


def lines_of(ax, colour):
    return [line for line in ax.lines if to_hex(line.get_color()).upper() == colour.upper()]


class TestAccuracyAgainstLevel:
    def test_mean_band_and_worst_are_those_of_the_chips(self):
        result = tolerance()
        (ax,) = figures.accuracy_against_level(result).axes
        for m in range(2):
            mean, worst = lines_of(ax, figures.COLOURS[m])
            chips = 100 * result.accuracy[m, :3]
            np.testing.assert_allclose(mean.get_xdata(), [0, 20, 50])
            np.testing.assert_allclose(mean.get_ydata(), chips.mean(1))
            np.testing.assert_allclose(worst.get_ydata(), chips.min(1))
            band = ax.collections[m].get_paths()[0].vertices
            for level, row in zip([0, 20, 50], chips, strict=True):
                here = band[np.isclose(band[:, 0], level), 1]
                np.testing.assert_allclose([here.min(), here.max()], np.quantile(row, [0.05, 0.95]))

    def test_axes_carry_units_and_the_metric_that_counts(self):
        (ax,) = figures.accuracy_against_level(tolerance(metric="balanced accuracy")).axes
        assert ax.get_ylabel() == "balanced accuracy (%)"
        assert ax.get_xlabel() == "relative mismatch level, standard deviation (%)"

    def test_levels_given_in_any_order_are_drawn_in_theirs(self):
        (ax,) = figures.accuracy_against_level(tolerance(levels=(0.5, 0.0, 0.2))).axes
        assert list(ax.lines[0].get_xdata()) == [0, 20, 50]

    def test_specification_is_a_line(self):
        result = tolerance()
        (plain,), (marked,) = (figures.accuracy_against_level(result, specification=s).axes for s in (None, 0.9))
        assert len(marked.lines) == len(plain.lines) + 1
        assert list(marked.lines[-1].get_ydata()) == [90, 90]

    def test_chips_that_were_not_run_are_left_out(self):
        result = tolerance()
        result.accuracy[0, 1, 10:] = math.nan
        result.accuracy[1, 2] = math.nan
        (ax,) = figures.accuracy_against_level(result).axes
        first, second = (lines_of(ax, figures.COLOURS[m])[0] for m in range(2))
        np.testing.assert_allclose(first.get_ydata()[1], 100 * result.accuracy[0, 1, :10].mean())
        assert list(second.get_xdata()) == [0, 20]

    @pytest.mark.parametrize("levels", [(), (0.2,)])
    def test_fewer_than_two_levels_make_no_curve(self, levels):
        assert figures.accuracy_against_level(tolerance(levels=levels)) is None

    def test_nothing_run_makes_no_curve(self):
        assert figures.accuracy_against_level(Tolerance.empty(["a"], ["x", "y"], [0.0, 0.1], 3)) is None

    def test_sweeps_of_two_kinds_get_an_axes_each(self):
        result = tolerance(levels=(0.1, 0.2, 0.3, 0.4), profiles=())
        names = ("relative_0.1", "relative_0.2", "relative_lognormal_0.1", "relative_lognormal_0.2")
        result = replace(result, conditions=names, levels=(0.1, 0.2, 0.1, 0.2))
        axes = figures.accuracy_against_level(result).axes
        assert [ax.get_title(loc="left") for ax in axes] == ["relative", "relative_lognormal"]
        np.testing.assert_allclose(axes[1].lines[0].get_ydata(), 100 * result.accuracy[0, 2:].mean(1))

    def test_levels_in_the_loop_are_a_sweep_of_their_own(self):
        result = tolerance(levels=(0.1, 0.2, 0.3, 0.4), profiles=())
        names = ("relative_0.1", "relative_0.1 (in_the_loop)", "relative_0.2", "relative_0.2 (in_the_loop)")
        result = replace(result, conditions=names, levels=(0.1, 0.1, 0.2, 0.2))
        assert figures.sweeps(result) == {"relative": [0, 2], "relative (in_the_loop)": [1, 3]}


class TestChipsStrip:
    def test_a_dot_a_chip_and_the_mean(self):
        result = tolerance(chips=30)
        axes = figures.chips_strip(result, specification=0.9).axes
        assert [ax.get_title(loc="left") for ax in axes] == ["dynapse1_conservative", "pcm_ibm"]
        for c, ax in enumerate(axes, start=3):
            for m in range(2):
                (dots,) = lines_of(ax, figures.COLOURS[m])
                np.testing.assert_allclose(dots.get_xdata(), 100 * result.accuracy[m, c])
                assert np.abs(dots.get_ydata() - m).max() < 0.5
            *means, specification = lines_of(ax, figures.INK)
            np.testing.assert_allclose([line.get_xdata()[0] for line in means], 100 * result.accuracy[:, c].mean(1))
            assert specification.get_xdata()[0] == 90
        assert axes[-1].get_xlabel() == "accuracy of a chip (%)"

    def test_yields_are_those_of_the_summary(self):
        result = tolerance()
        axes = figures.chips_strip(result, specification=0.85).axes
        shown = [text.get_text() for ax in axes for text in ax.texts if text.get_text() != "yield"]
        summary = [s for s in result.summary(0.85) if s.condition in ("dynapse1_conservative", "pcm_ibm")]
        assert shown == [f"{100 * s.chips_passed.share:.1f} %" for s in summary]

    def test_a_single_level_is_a_strip(self):
        (ax,) = figures.chips_strip(tolerance(levels=(0.2,), profiles=()), specification=0.9).axes
        assert ax.get_title(loc="left") == "relative_0.2"

    def test_levels_alone_make_no_strip(self):
        assert figures.chips_strip(tolerance(profiles=()), specification=0.9) is None

    def test_networks_that_were_not_run_are_left_out(self):
        result = tolerance()
        result.accuracy[0, 3] = math.nan
        result.accuracy[:, 4] = math.nan
        (ax,) = figures.chips_strip(result, specification=0.9).axes
        assert [label.get_text() for label in ax.get_yticklabels()] == ["adversarial"]
        assert lines_of(ax, figures.COLOURS[0]) == []

    def test_many_chips_are_pixels(self):
        result = tolerance(models=("a",), profiles=("pcm_ibm",), chips=figures.DOTS_AS_VECTORS + 1)
        (ax,) = figures.chips_strip(result, specification=0.9).axes
        assert lines_of(ax, figures.COLOURS[0])[0].get_rasterized()


class TestTrainingCurves:
    def test_columns_against_epochs_from_1(self):
        models = [trained(), trained("adversarial", epoch=1)]
        loss, validation = figures.training_curves(models).axes
        assert (loss.get_ylabel(), validation.get_ylabel()) == ("training loss", "validation accuracy (%)")
        assert validation.get_xlabel() == "epoch"
        line = lines_of(validation, figures.COLOURS[0])[0]
        np.testing.assert_allclose(line.get_xydata(), [[1, 50], [2, 80], [3, 90]])
        kept = lines_of(validation, figures.COLOURS[1])[1]
        np.testing.assert_allclose(kept.get_xydata(), [[2, 80]])

    def test_colour_is_that_of_the_other_figures(self):
        loss, _ = figures.training_curves([trained("adversarial")], networks=["standard", "adversarial"]).axes
        assert lines_of(loss, figures.COLOURS[0]) == []
        assert len(lines_of(loss, figures.COLOURS[1])) == 1

    def test_without_a_history_there_is_no_figure(self):
        assert figures.training_curves([trained(history=False)]) is None
        assert figures.training_curves([]) is None

    def test_without_validation_there_is_one_panel(self):
        model = trained()
        only_loss = replace(model, history={"loss": [1.0, 0.5]})
        (ax,) = figures.training_curves([only_loss]).axes
        assert ax.get_ylabel() == "training loss"

    def test_a_loss_that_touches_zero_is_on_a_linear_axis(self):
        model = replace(trained(), history={"loss": [1.0, 0.0]})
        assert figures.training_curves([model]).axes[0].get_yscale() == "linear"
        assert figures.training_curves([trained()]).axes[0].get_yscale() == "log"


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.floats(0.1, 5), st.floats(0.05, 1))
def test_swarm_lays_dots_of_a_bin_side_by_side(values, width, most):
    values = np.array(values)
    offsets = figures.swarm(values, width=width, most=most)
    assert np.abs(offsets).max() <= most * (1 + 1e-12)
    bins = np.round(values / width)
    for b in np.unique(bins):
        here = offsets[bins == b]
        assert len(np.unique(here)) == len(here)
        assert here[0] == 0


def test_no_two_of_twenty_networks_look_the_same():
    (ax,) = figures.accuracy_against_level(tolerance(models=[f"n{i}" for i in range(20)])).axes
    means = [line for line in ax.lines if line.get_linestyle() != "None"]
    assert len({(line.get_color(), line.get_linestyle()) for line in means}) == 20


def test_names_are_one_line_of_bounded_length():
    assert figures.short("a\nb\u202ec") == "a?b?c"
    assert len(figures.short("x" * 100)) == figures.LONGEST_NAME


def test_the_settings_of_the_user_stay_and_do_not_matter():
    with mpl.rc_context({"lines.linewidth": 17, "font.size": 31}):
        before = dict(mpl.rcParams)
        figure = figures.accuracy_against_level(tolerance())
        assert dict(mpl.rcParams) == before
    (ax,) = figure.axes
    assert ax.lines[0].get_linewidth() < 3
    assert ax.xaxis.label.get_size() < 12


def test_no_figure_is_wider_than_a_column():
    result = tolerance()
    drawn = (
        figures.accuracy_against_level(result),
        figures.chips_strip(result, specification=0.9),
        figures.training_curves([trained()]),
    )
    assert {figure.get_figwidth() for figure in drawn} == {figures.WIDTH}
