"""LaTeX, CSV and citations of run files."""

import csv
import io
import math
import re

import pytest
from analysis_examples import ANALYSES, landscape, with_analyses
from report_examples import run_group, tolerance, trained

from snnrobust.errors import RunFileError
from snnrobust.hardware import load_profile
from snnrobust.report.cite import cite, methods, references
from snnrobust.report.contents import Contents
from snnrobust.report.tables import Plain, latex, table_of, tex, tidy_analyses, tidy_csv


def contents(**described):
    result = tolerance(**described)
    models = [trained(label) for label in result.models]
    return Contents(with_analyses(run_group(result, models)), result, "run.h5")


class TestLatex:
    def test_every_table_is_balanced_and_has_all_cells(self):
        found = contents()
        for name in ("yield", *ANALYSES):
            table = table_of(name, found)
            text = latex(table, label=f"tab:{name}")
            assert text.count("\\begin") == text.count("\\end") == 2
            for rule in ("toprule", "midrule", "bottomrule"):
                assert text.count(rule) == 1
            rows = [line for line in text.splitlines() if line.endswith("\\\\")]
            assert len(rows) == 1 + len(table.rows)
            columns = len(table.headings)
            assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {columns - 1}
            assert f"{{{''.join('r' if r else 'l' for r in table.right)}}}" in text

    def test_numbers_are_those_of_the_summary(self):
        found = contents(models=("a",), levels=(), profiles=("pcm_ibm",))
        (s,) = found.result.summary(0.9)
        (row,) = table_of("yield", found).rows
        assert row[:2] == ["pcm_ibm", "a"]
        assert row[2] == f"{100 * s.mean:.1f}"
        assert row[-1] == "40"

    def test_behaviour_is_over_all_neurons(self):
        """Rate (10 x 10 + 30 x 50) / 40 = 40 Hz; 5 of 40 neurons silent."""
        table = table_of("behaviour", contents())
        assert table.rows == [
            ["nominal", "90.0", "100.0", "4", "40", "0.0", "0.0", "0.0", "0", "not available"],
            ["late", "80.0", "75.0", "4", "40", "12.5", "0.0", "0.0", "1", "not available"],
        ]

    def test_signs_of_tex_are_escaped(self):
        assert tex("a_b & 5 % $x$ #1 {~^\\} – σ >= 1-2") == (
            r"a\_b \& 5 \% \$x\$ \#1 \{\textasciitilde{}\textasciicircum{}\textbackslash{}\} -- $\sigma$ $\geq$ 1--2"
        )
        assert tex("-0.5 (-6.6 to +1) [-2] nominal - 2.0, Clopper-Pearson") == (
            "$-$0.5 ($-$6.6 to +1) [$-$2] nominal $-$ 2.0, Clopper-Pearson"
        )
        assert tex("a\nb") == "a?b"

    def test_names_of_networks_and_profiles_cannot_break_a_table(self):
        """Every special sign of LaTeX in a name is escaped wherever the name stands: cells, headings, captions."""
        name, shown = r"a_b%c&d#e$f{g}h~i^j\k", (
            r"a\_b\%c\&d\#e\$f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k"
        )  # fmt: skip
        found = contents(models=(name,))
        found = Contents(with_analyses(found.stored, name), found.result)
        for kind in ("yield", *ANALYSES):
            of = next((entry for entry in found.analyses.get(kind, {}) if entry.startswith(name)), None)
            text = latex(table_of(kind, found, of=of))
            assert kind == "yield" or of is not None
            assert name not in text
            plain = re.sub(r"\\(?:[%&#$_{}]|[a-z]+\{\}|\\)", "", text.replace(shown, ""))
            body = re.sub(r"\$(?:\\sigma|\\geq|-)\$", "", plain[plain.index("\\caption") :])
            assert not re.search(r"[%#_^~$]", body), body
            if kind not in ("behaviour",):
                assert shown in text

    def test_a_repeated_first_cell_stands_once(self):
        text = latex(Plain("t", ["x", "y"], [False, True], [["a", "1"], ["a", "2"], ["b", "3"]]))
        assert text.count("    a &") == 1
        assert "     & 2" in text

    def test_unknown_tables_and_missing_results(self):
        with pytest.raises(RunFileError, match="table: unknown 'yeild'"):
            table_of("yeild", contents())
        result = tolerance()
        with pytest.raises(RunFileError, match=r"holds no bits; `snnrobust bits"):
            table_of("bits", Contents(run_group(result), result))


class TestCsv:
    def test_a_row_a_chip_to_the_bit(self):
        result = tolerance()
        result.measures["accuracy"][0, 0, 3] = math.nan
        rows = list(csv.DictReader(io.StringIO(tidy_csv(result, {"pcm_ibm": "abc"}))))
        assert len(rows) == result.accuracy.size - 1
        for row in rows:
            place = (
                result.models.index(row["network"]), result.conditions.index(row["condition"]), int(row["instance"])
            )  # fmt: skip
            assert float(row["accuracy"]) == result.measures["accuracy"][place]
            assert float(row["balanced_accuracy"]) == result.measures["balanced_accuracy"][place]
            assert row["profile_hash"] == ("abc" if row["condition"] == "pcm_ibm" else "")
            level = result.levels[place[1]]
            assert row["level"] == ("" if math.isnan(level) else repr(level))

    def test_names_with_commas_and_quotes(self):
        text = tidy_csv(tolerance(models=('a,"b"',)), {})
        assert {row["network"] for row in csv.DictReader(io.StringIO(text))} == {'a,"b"'}


class TestCsvOfAnalyses:
    def test_a_row_a_number_with_its_place(self):
        made, rows = landscape(), list(csv.DictReader(io.StringIO(tidy_analyses("landscape", contents()))))
        of = {}
        for row in rows:
            assert (row["network"], row["profile"]) == ("standard", "relative levels")
            of.setdefault(row["quantity"], []).append(row)
        random = {(int(r["direction"]), float(r["alpha"])): float(r["value"]) for r in of["random"]}
        assert random == {(n, a): made.random[n, k] for n in range(2) for k, a in enumerate(made.alphas)}
        (corner,) = [r for r in of["slice"] if (r["slice_random"], r["slice_adversarial"]) == ("2.0", "-2.0")]
        assert float(corner["value"]) == made.slice[2, 0]
        assert corner["alpha"] == corner["radius"] == ""
        assert {float(r["radius"]): float(r["value"]) for r in of["sharpness"]} == {0.05: 0.2, 0.2: 1.5}
        assert [float(r["value"]) for r in of["scale"]] == [0.2]

    @pytest.mark.parametrize("kind", ANALYSES)
    def test_every_kind_has_all_its_numbers(self, kind):
        made = ANALYSES[kind][1]().to_group()
        rows = list(csv.DictReader(io.StringIO(tidy_analyses(kind, contents()))))
        for name, array in made.arrays():
            if array.values.shape and name not in array.dims:
                assert sum(row["quantity"] == name for row in rows) == array.values.size

    def test_all_networks_or_one(self):
        found = contents()
        more = Contents(with_analyses(found.stored, "adversarial"), found.result)
        networks = [row["network"] for row in csv.DictReader(io.StringIO(tidy_analyses("bits", more)))]
        assert set(networks) == {"standard", "adversarial"}
        one = tidy_analyses("bits", more, of="adversarial on dynapse1")
        assert {row["network"] for row in csv.DictReader(io.StringIO(one))} == {"adversarial"}
        with pytest.raises(RunFileError, match="table: unknown 'bit'"):
            tidy_analyses("bit", more)
        with pytest.raises(RunFileError, match="holds no bits; `snnrobust bits"):
            tidy_analyses("bits", Contents(run_group(tolerance()), found.result))


class TestCitation:
    def test_the_paragraph_has_numbers_seeds_and_hashes(self):
        found = contents()
        text = methods(found)
        profile = load_profile("pcm_ibm")
        for part in (
            "40 simulated chips (seed 1)", f"pcm_ibm (sha256 {profile.hash[:12]})", "the same chips in each",
            "at least 90.0 % accuracy", "two-sided 95 % Clopper-Pearson interval",
            f"sha256 {found.models[0].net.hash()[:12]}", "objective standard", "radius 0.1", "3 epochs",
        ):  # fmt: skip
            assert part in text, part

    def test_references_are_those_of_what_was_used(self):
        found = contents()
        keys = [reference.key for reference in references(found)]
        assert keys[0] == "snnrobust"
        assert "buechel2022network" in keys
        assert "data_vowels" in keys
        for name in ("pcm_ibm", "dynapse1_conservative"):
            assert {source.key for source in load_profile(name).sources} <= set(keys)
        assert len(keys) == len(set(keys))

    def test_bibtex_is_well_formed(self):
        text = cite(contents())
        entries = re.findall(r"^@[a-z]+\{([A-Za-z0-9:._-]+),\n((?:  [a-z]+ = \{.*\},\n)+)\}$", text, re.MULTILINE)
        assert len(entries) == len(re.findall("^@", text, re.MULTILINE)) >= 5
        for _, body in entries:
            assert body.count("{") == body.count("}")
            assert not re.search(r"(?<!\\)[%&#$_](?=[^\n]*\},\n)", re.sub(r"  (doi|url|eprint) = .*\n", "", body))

    def test_a_user_of_another_objective_is_told_its_paper(self):
        result = tolerance(models=("sam",))
        found = Contents(run_group(result, [trained("sam")]), result)
        (reference,) = [r for r in references(found) if r.key == "objective_sam"]
        assert (reference.arxiv, reference.year) == ("2010.01412", "2021")

    def test_without_results_there_is_no_paragraph(self):
        with pytest.raises(RunFileError, match="holds no results of chips"):
            methods(Contents(run_group(tolerance()), None, "a.h5"))
