"""Figures of analyses and of chips in bulk: what is drawn is what was found; files of every kind and width."""

import numpy as np
import pytest
from analysis_examples import (
    ANALYSES,
    CHIPS,
    behaviour,
    bits,
    certificate,
    landscape,
    rare,
    sensitivity,
    specification,
    tornado,
    with_analyses,
    worst_case,
)
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Text
from report_examples import run_group, tolerance, trained

from snnrobust.errors import ConfigError, RunFileError
from snnrobust.evaluation import LossLandscape, chip_yield
from snnrobust.evaluation.bits import Bits, Cell
from snnrobust.evaluation.statistics.quantiles import MOST_EXACT, share_above
from snnrobust.hardware import load_profile
from snnrobust.report import analysis_figures, curves, figures, landscape_figure, robustness_figures
from snnrobust.report.contents import COMMANDS, KINDS, Contents, read_contents
from snnrobust.report.gallery import FIGURES, draw, draw_all, fit_width, write_figure
from snnrobust.storage import Array, Group, read_run, write_run

OF_ALL = {"level", "yield", "chips", "distribution", "training"}


def contents(**described):
    result = tolerance(**described)
    models = [trained(label) for label in result.models]
    return Contents(with_analyses(run_group(result, models)), result, "run.h5")


def lines_at(ax, colour):
    return [line for line in ax.lines if to_hex(line.get_color()).upper() == colour.upper()]


class TestChips:
    def test_yield_against_level_is_that_of_the_summary(self):
        result = tolerance()
        (ax,) = curves.yield_against_level(result, specification=0.85).axes
        for m, model in enumerate(result.models):
            (line,) = lines_at(ax, figures.COLOURS[m])
            found = [s.chips_passed for s in result.summary(0.85) if s.model == model][:3]
            np.testing.assert_allclose(line.get_ydata(), [100 * y.share for y in found])
            band = ax.collections[m].get_paths()[0].vertices
            for level, y in zip([0, 20, 50], found, strict=True):
                here = band[np.isclose(band[:, 0], level), 1]
                np.testing.assert_allclose([here.min(), here.max()], [100 * y.low, 100 * y.high])
        assert ax.get_ylabel() == "chips ≥ 85.0 % (%)"

    @pytest.mark.parametrize("chips", [1, 40])
    def test_the_band_is_that_of_the_simultaneous_intervals(self, chips):
        accuracy = np.append(tolerance(chips=chips).accuracy[0, 3], np.nan)
        values, share, low, high = share_above(accuracy)
        for x, *found in zip(np.append(values[:-1], accuracy[:-1].max() + 0.01), share, low, high, strict=True):
            expected = chip_yield(accuracy, x, simultaneous=True)
            np.testing.assert_allclose(found, expected[:3], atol=1e-12)

    def test_many_chips_have_the_band_of_dvoretzky_kiefer_and_wolfowitz(self):
        _, share, low, high = share_above(np.linspace(0.5, 0.9, MOST_EXACT + 1))
        half = np.sqrt(np.log(2 / 0.05) / (2 * (MOST_EXACT + 1)))
        np.testing.assert_allclose(low, np.maximum(share - half, 0))
        np.testing.assert_allclose(high, np.minimum(share + half, 1))

    def test_the_distribution_falls_in_steps_of_one_chip(self):
        result = tolerance(models=("a",), levels=(), profiles=("pcm_ibm",), chips=4)
        result.accuracy[0, 0] = [0.5, 0.7, 0.7, 0.9]
        (ax,) = curves.distribution(result, specification=0.8).axes
        line = lines_at(ax, figures.COLOURS[0])[0]
        np.testing.assert_allclose(line.get_xdata(), [0, 50, 70, 90, 100])
        np.testing.assert_allclose(line.get_ydata(), [100, 100, 75, 25, 0])

    def test_drift_orders_the_times_of_one_profile(self):
        names = ("pcm_ibm_at_1y", "pcm_ibm_at_1h", "dynapse1")
        result = tolerance(models=("a",), levels=(), profiles=names)
        times = {"pcm_ibm_at_1y": 3.15e7, "pcm_ibm_at_1h": 3600.0}
        assert curves.ages(result, times) == {"pcm_ibm": [1, 0]}
        (ax,) = curves.drift(result, times).axes
        mean = lines_at(ax, figures.COLOURS[0])[0]
        np.testing.assert_allclose(mean.get_xdata(), [3600, 3.15e7])
        np.testing.assert_allclose(mean.get_ydata(), 100 * result.accuracy[0, [1, 0]].mean(1))
        assert ax.get_xlabel() == "time since programming"
        assert curves.drift(result, {"pcm_ibm_at_1y": 3.15e7}) is None

    def test_times_are_those_of_the_stored_profiles(self):
        profile = load_profile("pcm_ibm")
        aged = [
            profile.under(time=t).model_copy(update={"name": f"pcm_ibm_at_{name}"})
            for name, t in (("1h", 3600.0), ("1d", 86400.0))
        ]
        result = tolerance(models=("a",), levels=(), profiles=[p.name for p in aged])
        found = draw("drift", Contents(run_group(result, profiles=aged), result))
        assert list(found.figure.axes[0].lines[0].get_xdata()) == [3600, 86400]


class TestAnalyses:
    def test_ranking_shows_gains_and_intervals(self):
        found = sensitivity()
        left, right = analysis_figures.ranking(found).axes
        parts = found.ranking()
        assert [label.get_text() for label in left.get_yticklabels()] == ["weight", "tau_mem"]
        np.testing.assert_allclose(
            [line.get_xdata()[0] for line in left.lines[1:4:2]], [p.gain.value * 100 for p in parts]
        )
        np.testing.assert_allclose(left.lines[0].get_xdata(), [100 * parts[0].gain.low, 100 * parts[0].gain.high])
        np.testing.assert_allclose(right.lines[1].get_xdata(), [100 * parts[0].share[0]])

    def test_tornado_bars_reach_from_the_base_to_the_ends(self):
        found = tornado()
        (ax,) = analysis_figures.tornado_bars(found).axes
        ends = [bar.get_x() + bar.get_width() for bar in ax.patches]
        expected = [100 * y.share for bar in found.bars for y in (bar.low, bar.high)]
        np.testing.assert_allclose(ends, expected)
        assert {round(bar.get_x(), 9) for bar in ax.patches} == {100 * found.base.share}
        assert sum("flips the verdict" in text.get_text() for text in ax.texts) == sum(b.flips for b in found.bars) == 1

    def test_worst_case_stands_beside_gaussian_and_vertex(self):
        found = worst_case()
        (ax,) = robustness_figures.worst_case_curves(found).axes
        of = {line.get_label(): line for line in ax.lines}
        np.testing.assert_allclose(of["attack (task)"].get_ydata(), [90, 70, 30])
        np.testing.assert_allclose(of["Gaussian"].get_ydata(), 100 * found.gaussian.mean(1))
        np.testing.assert_allclose(of["random vertex"].get_ydata(), 100 * found.vertices.mean(1))
        np.testing.assert_allclose(of["Gaussian"].get_xdata(), [10, 20, 30])

    def test_bits_stand_with_their_intervals(self):
        """A panel a size, a ring around the smallest that suffices: 6 bits at 0.5, 6 at 1."""
        found = bits()
        axes = analysis_figures.yield_over_bits(found).axes
        assert [ax.get_title(loc="left") for ax in axes] == [
            "0.5 × the spreads of dynapse1",
            "1 × the spreads of dynapse1",
        ]
        for ax, scale, shares in zip(axes, (0.5, 1.0), ([75, 100], [50, 95]), strict=True):
            line, ring = ax.lines[:2]
            np.testing.assert_allclose(line.get_xdata(), [3, 6])
            np.testing.assert_allclose(line.get_ydata(), shares)
            ends = [segment[:, 1] for segment in ax.collections[0].get_segments()]
            own = [c.found for c in found.cells if c.scale == scale]
            np.testing.assert_allclose(ends, [[100 * y.low, 100 * y.high] for y in own])
            enough = found.sufficient(scale)
            np.testing.assert_allclose(ring.get_xdata(), [c.weight for c in enough])
            assert [c.weight for c in enough] == [6]

    def test_converters_have_a_line_each_and_lie_side_by_side(self):
        one = bits()
        cells = [Cell(1.0, weight, adc, y) for weight, adc, y in
                 zip((3, 3, 6, 6), (4, 8, 4, 8), (c.found for c in one.cells), strict=True)]  # fmt: skip
        (ax,) = analysis_figures.yield_over_bits(Bits(one.profile, tuple(cells), one.requirement)).axes
        lines = {line.get_label(): line for line in ax.lines}
        first, second = (lines[f"{adc} ADC bits"] for adc in (4, 8))
        assert first.get_color() != second.get_color()
        assert first.get_marker() != second.get_marker()
        assert (np.abs(first.get_xdata() - second.get_xdata()) > 0.05).all()

    def test_rare_failures_stand_beside_plain_monte_carlo(self):
        found = rare()
        (ax,) = robustness_figures.rare_failures(found).axes
        interval, _, _, dot, plain, _, arrow = ax.lines
        np.testing.assert_allclose(interval.get_xdata(), [0.01, 0.04])
        np.testing.assert_allclose(dot.get_xdata(), [0.02])
        assert plain.get_xdata()[1] == pytest.approx(0.37)
        assert arrow.get_marker() == "<"
        assert arrow.get_xdata()[0] == ax.get_xlim()[0]
        assert ax.get_xlabel() == "chips below 90.0 % (%), logarithmic"

    def test_rare_failures_that_no_run_reached_are_not_resolved(self):
        found = rare()
        nothing = found.found._replace(share=0.0, low=np.nan, high=np.nan, effective=0.0)
        (ax,) = robustness_figures.rare_failures(found._replace(found=nothing)).axes
        assert [text.get_text() for text in ax.texts] == ["not resolved", "none of 1,000"]
        assert not [line for line in ax.lines if line.get_marker() == "o"]

    def test_certificates_stand_over_the_box_and_zero_has_a_place(self):
        (ax,) = robustness_figures.certified_over_box(certificate()).axes
        certified, certain, half, largest = ax.lines
        np.testing.assert_allclose(certified.get_xdata(), [0, 0.1, 1])
        np.testing.assert_allclose(certified.get_ydata(), [90, 40, 0])
        np.testing.assert_allclose(certain.get_ydata(), [100, 90, 50])
        np.testing.assert_allclose([half.get_xdata()[0], largest.get_xdata()[0]], [0.07, 0.4])
        assert ax.transData.transform((0, 0))[0] >= ax.bbox.x0
        assert ax.get_xlabel() == "half-width k of the box (% of each weight)"

    def test_the_landscape_is_lines_and_a_plane(self):
        found = landscape()
        lines, plane, bar = landscape_figure.loss_landscape(found).axes
        first, second, mean, attack, guess = lines.lines
        for line, expected in ((first, found.random[0]), (second, found.random[1]), (mean, found.random.mean(0))):
            np.testing.assert_allclose(line.get_ydata(), expected)
        np.testing.assert_allclose(attack.get_ydata(), [4.5, 1.5, 0.5, 1.5, 4.5])
        assert guess.get_ydata()[0] == pytest.approx(np.log(9))
        assert lines.get_yscale() == "linear"
        assert lines.get_xlabel() == "along a direction (unit: 20 % of each weight)"
        low, high = plane.collections[0].get_clim()
        assert low <= found.slice.min() < found.slice.max() <= high
        assert bar.get_ylabel() == lines.get_ylabel() == "cross-entropy (nats)"

    def test_losses_far_apart_are_logarithmic_and_a_slice_may_be_absent(self):
        one = landscape()
        steep = LossLandscape(
            one.alphas, one.random, one.adversarial * [40, 10, 1, 10, 40], np.zeros(0), np.zeros((0, 0)), one.radii,
            one.sharpness, 1.0, "dynapse1", 9, one.population,
        )  # fmt: skip
        (ax,) = landscape_figure.loss_landscape(steep).axes
        assert ax.get_yscale() == "log"
        assert ax.get_xlabel() == "along a direction (unit: 1 σ of dynapse1)"

    def test_behaviour_stands_by_condition(self):
        (ax,) = analysis_figures.behaviour_by_condition(behaviour()).axes
        assert [label.get_text() for label in ax.get_yticklabels()] == ["nominal", "late"]
        accuracy, agreement = ([line for line in ax.lines if line.get_marker() == sign] for sign in "os")
        np.testing.assert_allclose([line.get_xdata()[0] for line in accuracy], [90, 80])
        np.testing.assert_allclose([line.get_xdata()[0] for line in agreement], [100, 75])
        np.testing.assert_allclose(ax.lines[-2].get_xdata(), [60, 90])

    def test_specification_shows_multiples_and_amounts(self):
        (ax,) = analysis_figures.specification_limits(specification()).axes
        dots = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
        assert dots == [0.5, 2.0]
        assert [text.get_text() for text in ax.texts] == ["10 %", "40 %", "specified"]

    @pytest.mark.parametrize("kind", ANALYSES)
    def test_a_result_survives_its_file(self, kind, tmp_path):
        made = ANALYSES[kind][1]().to_group()
        write_run(tmp_path / "run.h5", Group({"a": made}))
        again = KINDS[kind].from_group(read_run(tmp_path / "run.h5").group("a")).to_group()
        assert again.attrs == made.attrs
        assert list(again.items) == list(made.items)
        for name, array in made.arrays():
            np.testing.assert_array_equal(again.array(name).values, array.values)

    @pytest.mark.parametrize("kind", ANALYSES)
    def test_a_group_that_holds_something_else_is_said(self, kind):
        with pytest.raises(RunFileError, match="cannot be read"):
            KINDS[kind].from_group(Group({"x": Array(np.zeros(2))}))


class TestGallery:
    def test_every_figure_for_which_there_are_results(self):
        found = {drawn.name: drawn for drawn in draw_all(contents())}
        assert set(found) == (set(FIGURES) - {"drift"})
        for drawn in found.values():
            labels = [ax.get_xlabel() + ax.get_ylabel() for ax in drawn.figure.axes]
            assert any(labels), drawn.name
            assert drawn.title.endswith(".")
            assert "{" not in drawn.caption
        assert {name for name, drawn in found.items() if not drawn.of} == OF_ALL

    @pytest.mark.parametrize("kind", set(FIGURES) & set(COMMANDS))
    def test_a_missing_analysis_names_its_command(self, kind):
        result = tolerance()
        with pytest.raises(
            RunFileError, match=rf"holds no .*; `snnrobust {COMMANDS[kind].split()[0]} .* -o run.h5` adds"
        ):
            draw(kind, Contents(run_group(result), result, "run.h5"))

    @pytest.mark.parametrize("name", ["level", "yield", "drift"])
    def test_missing_conditions_name_a_command(self, name):
        result = tolerance(levels=())
        with pytest.raises(RunFileError, match=rf"figure {name} needs .*`snnrobust (benchmark|deploy) .*makes them"):
            draw(name, Contents(run_group(result), result))

    def test_numbers_that_cannot_be_are_one_line(self):
        found = contents()
        place = "analyses/sensitivity/standard on dynapse1"
        group = found.stored.group(place)
        varies = Array(np.zeros_like(group.array("varies").values), ("varied", "part"))
        forged = Contents(found.stored.put(place, group.put("varies", varies)), found.result)
        with pytest.raises(RunFileError, match="sensitivity of standard on dynapse1: cannot be read"):
            draw("sensitivity", forged)
        place = "analyses/bits/standard on dynapse1"
        group = found.stored.group(place)
        nothing = Contents(found.stored.put(place, Group(group.items, {**group.attrs, "chips": 0})), found.result)
        assert any(line.startswith("bits of standard on dynapse1: ") for line in nothing.problems)

    def test_unknown_names_and_several_analyses(self):
        with pytest.raises(ConfigError, match="did you mean 'sensitivity'"):
            draw("sensitivty", contents())
        found = contents()
        more = Contents(with_analyses(found.stored, "adversarial"), found.result)
        with pytest.raises(RunFileError, match="give one of 'standard on dynapse1', 'adversarial on dynapse1'"):
            draw("sensitivity", more)
        assert draw("sensitivity", more, of="adversarial on dynapse1").of == "adversarial on dynapse1"
        with pytest.raises(RunFileError, match="sensitivity of: unknown 'x'"):
            draw("sensitivity", more, of="x")

    def test_an_analysis_of_another_network_of_the_name_is_left_out(self):
        found = contents()
        place = "analyses/worst_case/standard on relative levels"
        group = found.stored.group(place)
        other = found.stored.put(place, Group(group.items, {**group.attrs, "config": '{"model": "0"}'}))
        assert "worst_case" not in Contents(other, found.result).analyses
        assert any("of another network" in line for line in Contents(other, found.result).problems)

    def test_a_file_with_analyses_alone(self, tmp_path):
        write_run(tmp_path / "a.h5", with_analyses(Group({}, {"kind": "analysis"})))
        found = read_contents(tmp_path / "a.h5")
        assert draw("tornado", found).of == "standard on dynapse1"
        with pytest.raises(RunFileError, match=r"a\.h5: holds no results of chips; `snnrobust deploy"):
            draw("chips", found)


class TestFiles:
    @pytest.mark.parametrize(
        ("suffix", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("eps", b"%!PS"), ("png", b"\x89PNG")]
    )
    def test_every_format(self, tmp_path, suffix, start):
        drawn = draw("worst_case", contents())
        write_figure(drawn, tmp_path / f"f.{suffix}", width=85)
        content = (tmp_path / f"f.{suffix}").read_bytes()
        assert content.startswith(start)
        assert drawn.figure.get_size_inches()[0] == pytest.approx(85 / 25.4)
        if suffix != "png":
            assert b"image" not in content[2000:].replace(b"clip", b"").lower() or suffix == "pdf"

    def test_same_file_same_bytes(self, tmp_path):
        for name in ("a.pdf", "b.pdf"):
            write_figure(draw("sensitivity", contents()), tmp_path / name)
        assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()

    def test_narrow_figures_have_smaller_text_that_can_be_read(self):
        figure = draw("level", contents()).figure
        fit_width(figure, 60)
        sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
        assert min(sizes) >= 0.8 * 8
        assert max(sizes) < 9.5

    @pytest.mark.parametrize("width", [85, 117])
    def test_no_text_is_cut_off(self, width):
        for drawn in draw_all(contents()):
            fit_width(drawn.figure, width)
            canvas = FigureCanvasAgg(drawn.figure)
            canvas.draw()
            whole = drawn.figure.bbox
            for text in drawn.figure.findobj(Text):
                if text.get_visible() and text.get_text():
                    box = text.get_window_extent()
                    inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= whole.x1 + 1 and box.y1 <= whole.y1 + 1
                    axis = text.get_text().replace("−", "-").replace(".", "").lstrip("-").isdigit()
                    assert inside or axis, (drawn.name, text.get_text(), box, whole)  # ticks outside are not drawn

    def test_mistakes(self, tmp_path):
        drawn = draw("level", contents())
        with pytest.raises(ConfigError, match=r"ending of f\.jpg: unknown 'jpg'"):
            write_figure(drawn, tmp_path / "f.jpg")
        with pytest.raises(ConfigError, match="width: 5 mm must be from 20 to 400 mm"):
            write_figure(drawn, tmp_path / "f.pdf", width=5)
        assert list(tmp_path.iterdir()) == []


def test_examples_are_what_they_say():
    found = sensitivity()
    assert found.chips == CHIPS
    assert [int((~found.passes(v)).sum()) for v in found.scores] == [0, 4, 12, 15]
