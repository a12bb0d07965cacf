import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_examples import run_group, tolerance, trained

import snnrobust as sr
from snnrobust.errors import ConfigError, RunFileError
from snnrobust.evaluation import read_tolerance
from snnrobust.evaluation.results import key_of
from snnrobust.hardware import Profile, load_profile
from snnrobust.report import figures
from snnrobust.report.html import inline_svg, render, write_report
from snnrobust.storage import Array, Group, Journal, journal_path, write_run

VOID = {"meta", "br", "wbr", "img", "link", "input", "hr", "base"}
FALLING = "Yield at any specification."
HOSTILE = """<script>alert(1)</script> "><img src=x onerror=y> ' {{ 7*7 }} $\\frac{a$ --> ]]>"""


class Page(HTMLParser):
    """A page that must be balanced: its text, elements, and rows of tables."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.pieces, self.rows = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            return
        self.pieces.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self):
        return " ".join("".join(self.pieces).split())

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.elements if name in attrs]


def page_of(path, specification=0.9):
    output = path.with_suffix(".html")
    write_report(path, output, specification=specification)
    return Page(output.read_text(encoding="utf-8"))


def page_for(result, models=(), **options):
    return Page(render(result, run_group(result, models), **options))


def percent(value):
    return f"{100 * value:.1f}"


class TestNumbers:
    def test_table_holds_the_summary(self, run_file):
        page, (result, _) = page_of(run_file, 0.85), read_tolerance(run_file)
        found = [row for row in page.rows if len(row) == 8][1:]
        assert found == [
            [
                s.model,
                *map(percent, (s.mean, s.std, s.minimum, s.quantile05, s.chips_passed.share)),
                f"{percent(s.chips_passed.low)}–{percent(s.chips_passed.high)}",
                str(s.chips),
            ]
            for s in result.summary(0.85)
        ]

    def test_verdict_names_population_and_interval(self, run_file):
        page, (result, _) = page_of(run_file, 0.85), read_tolerance(run_file)
        for s in result.summary(0.85):
            y, digits = s.chips_passed, None
            if s.condition in ("dynapse1_conservative", "pcm_ibm"):
                digits = load_profile(s.condition).hash[:8]
            sentence = (
                f"{y.passed} of {y.chips} simulated chips of {s.condition}#{digits} reach ≥ 85.0 % accuracy on "
                f"100 test samples of vowels, split official: yield {percent(y.share)} %, "
                f"two-sided 95 % Clopper-Pearson interval {percent(y.low)}–{percent(y.high)} %."
            )
            assert (sentence in page.text) == (digits is not None)

    def test_bar_spans_the_interval(self):
        result = tolerance(models=("a",), levels=(), profiles=("pcm_ibm",))
        (s,) = result.summary(0.94)
        page = page_for(result, specification=0.94)
        bar = next(i for i, (_, attrs) in enumerate(page.elements) if attrs.get("class") == "bar")
        interval = page.elements[bar + 2][1]
        y = s.chips_passed
        assert float(interval["x"]) == pytest.approx(100 * y.low, abs=0.01)
        assert float(interval["width"]) == pytest.approx(100 * (y.high - y.low), abs=0.01)

    def test_levels_make_the_verdict_where_there_is_no_profile(self):
        page = page_for(tolerance(profiles=()))
        assert "simulated chips of relative_0.5 reach" in page.text

    def test_balanced_accuracy_where_it_counts(self):
        result = tolerance(metric="balanced accuracy")
        page = page_for(result)
        mean = percent(result.measures["balanced_accuracy"][0, 0].mean())
        assert ["standard", mean] in [row[:2] for row in page.rows]
        assert "% balanced accuracy on 100 test samples" in page.text

    def test_nonfinite_chips_are_said(self):
        result = tolerance()
        result.measures["nonfinite"][0, 3, :2] = 5
        page = page_for(result)
        assert "2 chips gave non-finite outputs and meet no specification." in page.text
        assert "40 (2 non-finite)" in [row[-1] for row in page.rows]


class TestUnfinished:
    def test_what_is_missing_is_said(self):
        result = tolerance()
        result.measures["accuracy"][0, 4, 30:] = math.nan
        result.measures["accuracy"][1, 3:] = math.nan
        page = page_for(result)
        assert "Unfinished: 310 of 400 chips were run." in page.text
        assert "30 of 40 chips were run." in page.text
        assert page.rows.count(["adversarial", "not run"]) == 2

    def test_blocks_of_the_journal_count(self, tmp_path):
        path, result = tmp_path / "run.h5", tolerance(models=("a",), levels=(), profiles=("pcm_ibm",), chips=4)
        values = result.measures["accuracy"][0, 0].copy()
        result.measures["accuracy"][...] = math.nan
        run = run_group(result)
        write_run(path, run)
        block = {"accuracy": values[:3], "balanced_accuracy": values[:3], "nonfinite": np.zeros(3)}
        with Journal(journal_path(path), key_of(run.attrs["config"])) as journal:
            journal.append("0", {"place": np.array([0, 0, 0, 3]), **block})
        page = page_of(path)
        assert "Unfinished: 3 of 4 chips were run." in page.text
        assert percent(values[:3].mean()) in [row[1] for row in page.rows if len(row) == 8]

    def test_nothing_run_at_all(self):
        result = tolerance()
        result.measures["accuracy"][...] = math.nan
        page = page_for(result)
        assert "Unfinished: 0 of 400 chips were run." in page.text
        assert "Figure 1" not in page.text


class TestSelfContained:
    def test_nothing_is_loaded(self, run_file):
        page = page_of(run_file)
        text = run_file.with_suffix(".html").read_text(encoding="utf-8")
        assert {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "embed", "base"} == set()
        assert "@import" not in text
        assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
        references = [value for name in ("src", "href", "xlink:href", "data") for value in page.attributes(name)]
        assert references
        assert all(value.startswith("#") for value in references)
        assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
        assert "default-src 'none'" in page.attributes("content")[1]

    def test_pixels_are_inside_the_page(self):
        page = page_for(tolerance(models=("a",), profiles=("pcm_ibm",), chips=figures.DOTS_AS_VECTORS + 1))
        (image,) = [attrs["xlink:href"] for tag, attrs in page.elements if tag == "image"]
        assert image.startswith("data:image/png;base64,")

    def test_ids_are_unique_and_references_resolve(self, run_file):
        page = page_of(run_file)
        ids = page.attributes("id")
        assert len(ids) == len(set(ids))
        used = {value.removeprefix("#") for value in page.attributes("xlink:href")}
        clips = {value[len("url(#") : -1] for value in page.attributes("clip-path")}
        assert used | clips <= set(ids)
        assert used
        assert clips

    def test_ids_of_the_same_figure_twice_differ_by_name(self):
        figure = figures.accuracy_against_level(tolerance())
        first, second = (Page(inline_svg(figure, name=name, label="x")).attributes("id") for name in ("a", "b"))
        assert first
        assert not set(first) & set(second)

    def test_same_run_same_bytes(self, run_file):
        pages = []
        for name in ("one.html", "two.html"):
            write_report(run_file, run_file.with_name(name), specification=0.9)
            pages.append(run_file.with_name(name).read_bytes())
        assert pages[0] == pages[1]
        assert run_file.with_name("two.html") in list(run_file.parent.iterdir())
        assert not [path for path in run_file.parent.iterdir() if path.suffix == ".tmp"]

    def test_figures_take_the_colour_of_the_page(self):
        svg = inline_svg(figures.accuracy_against_level(tolerance()), name="a", label='a "label"')
        assert figures.INK.lower() not in svg.lower()
        assert "currentColor" in svg
        assert svg.startswith("<svg viewBox=")
        assert 'aria-label="a &#34;label&#34;"' in svg
        assert "<style" not in svg


class TestUntrustedNames:
    def test_markup_stays_text(self):
        name = HOSTILE.replace("/", "∕")
        result = tolerance(models=(HOSTILE, "b"), levels=(0.0, 0.2), profiles=(name,), population=HOSTILE)
        result = replace(result, notes={name: (HOSTILE,)})
        stored = run_group(result, [replace(trained(), label=name)], profiles=[])
        stored = stored.put(f"profiles/{name}", Group({"text": Array(np.array(HOSTILE))}, {"hash": HOSTILE}))
        stored = replace(stored, attrs={**stored.attrs, "torch_version": HOSTILE, "engine": HOSTILE})
        page = Page(render(result, stored, source=HOSTILE))
        assert {tag for tag, _ in page.elements} & {"script", "img"} == set()
        assert not [key for _, attrs in page.elements for key in attrs if key.startswith("on")]
        assert page.text.count("<script>alert(1)<") > 10
        assert "{{ 7*7 }}" in page.text

    def test_texts_of_a_network_stay_text(self):
        model = trained()
        model = replace(model, config={HOSTILE: HOSTILE, "settings": {"seed": [HOSTILE, 1]}})
        page = page_for(tolerance(models=("standard",)), [model])
        assert {tag for tag, _ in page.elements} & {"script", "img"} == set()
        assert [HOSTILE, HOSTILE] in page.rows

    def test_links_of_a_profile_are_not_links(self):
        text = load_profile("pcm_ibm").to_yaml()
        text = re.sub(r"doi: \S+", "url: 'javascript:alert(1)'", text, count=1)
        stored = run_group(tolerance()).put("profiles/pcm_ibm", Group({"text": Array(np.array(text))}, {"hash": ""}))
        page = Page(render(tolerance(), stored))
        assert "javascript:alert(1)" in page.text
        assert not [value for value in page.attributes("href") if "javascript" in value]

    def test_a_lone_surrogate_can_be_written(self, tmp_path):
        result = tolerance(models=("standard",))
        stored = run_group(result)
        stored = replace(stored, attrs={**stored.attrs, "config": r'{"task": ["\ud800", "", ""]}'})
        write_run(tmp_path / "run.h5", stored)
        assert "what device mismatch costs" in page_of(tmp_path / "run.h5").text


class TestSections:
    def test_profiles_show_hash_and_evidence(self, run_file):
        page = page_of(run_file)
        profile = load_profile("pcm_ibm")
        counts = profile.evidence_summary().counts
        assert profile.hash in page.text
        assert f"Numbers by evidence: {', '.join(f'{n} {kind}' for kind, n in counts.items())}." in page.text
        assert f"{counts['assumption']} assumed" in page.text
        assert "environment.temperature = 300" in page.text

    def test_a_profile_that_cannot_be_read_is_said(self):
        result = tolerance()
        stored = run_group(result).put("profiles/pcm_ibm", Group({"text": Array(np.array("no: [profile"))}))
        assert "cannot be read by this version: pcm_ibm" in Page(render(result, stored)).text

    def test_a_text_that_is_not_that_of_the_hash_is_said(self):
        result, profile = tolerance(), load_profile("pcm_ibm")
        group = Group({"text": Array(np.array(profile.to_yaml()))}, {"hash": "0" * 64, "kind": profile.kind})
        page = Page(render(result, run_group(result).put("profiles/pcm_ibm", group)))
        assert f"the stored text has another hash, {profile.hash}" in page.text

    def test_training_shows_settings_and_what_differs(self, run_file):
        page = page_of(run_file)
        assert ["settings.learning_rate", "0.005", "0.005"] in page.rows
        assert ["objective.name", "standard", "adversarial"] in page.rows
        assert ["weights kept", "average of the last epochs", "of epoch 2"] in page.rows
        assert ["training time", "7 s", "7 s"] in page.rows
        assert ["network", *["lif 3 → 5 recurrent; li 5 → 2"] * 2] in page.rows
        assert sum(value == "differs" for value in page.attributes("class")) == 2

    def test_a_network_that_is_not_stored_or_damaged_is_said(self):
        result = tolerance()
        stored = run_group(result, [trained()])
        damaged = stored.group("models/standard")
        stored = stored.put("models/standard", replace(damaged, attrs={**damaged.attrs, "structure": "{}"}))
        page = Page(render(result, stored))
        assert "adversarial: the run file does not hold this network" in page.text
        assert "models/standard: not a complete model" in page.text

    def test_an_untrained_network(self):
        page = page_for(tolerance(models=("a",)), [replace(trained("a", history=False), config={})])
        assert ["training", "not recorded"] in page.rows

    def test_notes_shared_by_conditions_stand_once(self):
        notes = {"relative_0": ("gain is ideal",), "relative_0.2": ("gain is ideal",), "pcm_ibm": ("no drift",)}
        page = page_for(tolerance(notes=notes))
        assert page.text.count("gain is ideal") == 1
        assert "relative_0, relative_0.2" in page.text
        assert "no drift" in page.text

    def test_provenance(self, run_file):
        page, (_, stored) = page_of(run_file), read_tolerance(run_file)
        for name in ("created", "snnrobust_version", "h5py_version", "torch_version"):
            assert str(stored.attrs[name]) in page.text
        assert "data: official" in page.text
        assert "seed of the chips" in page.text

    def test_levels_alone_leave_out_what_is_not_there(self):
        page = page_for(tolerance(profiles=(), models=("a",)))
        figures = [attrs["aria-label"] for tag, attrs in page.elements if tag == "svg" and "role" in attrs]
        assert figures == ["Accuracy against the mismatch level.", "Yield against the mismatch level.", FALLING]
        for absent in ("Profiles", "What was ignored", "Drift", "Worst case"):
            assert absent not in page.text


class TestErrors:
    @pytest.mark.parametrize("specification", [-0.1, 1.01, 90, math.nan, math.inf])
    def test_specification_outside_its_domain(self, run_file, specification):
        with pytest.raises(ConfigError, match=r"^specification: .* must be a fraction from 0 to 1"):
            write_report(run_file, run_file.with_suffix(".html"), specification=specification)

    @pytest.mark.parametrize("name", ["run.h5", "run.h5.journal", "link.h5"])
    def test_the_run_file_is_never_replaced(self, run_file, name):
        run_file.with_name("link.h5").symlink_to(run_file)
        before = run_file.read_bytes()
        with pytest.raises(ConfigError, match="is the run file itself"):
            write_report(run_file, run_file.with_name(name), specification=0.9)
        assert run_file.read_bytes() == before

    def test_a_file_without_results(self, tmp_path):
        write_run(tmp_path / "train.h5", Group({}, {"kind": "training"}))
        with pytest.raises(RunFileError, match=r"train\.h5: holds no results of a benchmark \(kind: training\)$"):
            write_report(tmp_path / "train.h5", tmp_path / "a.html", specification=0.9)
        assert not (tmp_path / "a.html").exists()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda t: replace(t, attrs={**t.attrs, "metric": "loss"}),
                "metric 'loss' must be accuracy or balanced accuracy",
            ),
            (lambda t: t.put("accuracy", Array(np.zeros((2, 2)))), "do not have the shape"),
            (
                lambda t: t.put("accuracy", Array(np.full((2, 5, 40), np.inf), ("model", "condition", "instance"))),
                "outside",
            ),
        ],
    )
    def test_a_table_that_cannot_be(self, tmp_path, change, message):
        stored = run_group(tolerance())
        write_run(tmp_path / "run.h5", stored.put("tolerance", change(stored.group("tolerance"))))
        with pytest.raises(RunFileError, match=message):
            write_report(tmp_path / "run.h5", tmp_path / "a.html", specification=0.9)

    def test_a_missing_file_and_a_missing_folder(self, run_file, tmp_path):
        with pytest.raises(RunFileError, match=r"none\.h5"):
            write_report(tmp_path / "none.h5", tmp_path / "a.html", specification=0.9)
        with pytest.raises(RunFileError, match="does not exist"):
            write_report(run_file, tmp_path / "no" / "a.html", specification=0.9)


def test_a_real_benchmark(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 6, 3)).astype(np.float32), np.arange(60) % 2
    x += 2 * y[:, None, None]
    task = sr.Task.from_arrays(x, y, split=["train"] * 40 + ["test"] * 20, dt=1e-2, name="mine")
    nets = {name: sr.Network.recurrent(3, 5, 2, dt=1e-2, seed=seed) for seed, name in enumerate(("a", "b"))}
    conditions = [0.0, 0.2, Profile.relative(0.2, distribution="lognormal"), load_profile("dynapse1")]
    path = tmp_path / "run.h5"
    result = sr.benchmark(nets, conditions, task, instances=7, run=path, show_progress=False)
    page = page_of(path, 0.5)
    assert "simulated chips of dynapse1#" in page.text
    assert "on 20 test samples of mine, split given by the user:" in page.text
    for s in result.summary(0.5):
        assert [s.model, percent(s.mean), percent(s.std)] in [row[:3] for row in page.rows]
    assert json.loads(read_tolerance(path)[1].attrs["config"])["task"][0] == "mine"
