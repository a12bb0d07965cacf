"""The figure of a profile: what its panels show are the chips that a deployment draws."""

from __future__ import annotations

import numpy as np
import pytest

from snnrobust.errors import ConfigError
from snnrobust.hardware.profile import Profile, list_profiles, load_profile
from snnrobust.report.profile_figure import deviations, profile_figure, save_profile_figure, span, weight_errors

NAMES = [s.name for s in list_profiles() if s.name != "ideal"]


@pytest.mark.parametrize("name", NAMES)
def test_every_role_has_a_panel_and_a_crossbar_its_own(name):
    profile = load_profile(name)
    titles = [ax.get_title(loc="left").split(" (")[0] for ax in profile_figure(profile).axes if ax.get_visible()]
    roles = [r for r, entry in profile.parameters.given().items() if entry.distribution != "none"]
    assert titles[: len(roles)] == roles
    crossbar = titles[len(roles) :]
    assert crossbar[:1] == (["noise"] if profile.crossbar else [])
    drifts = profile.crossbar is not None and profile.crossbar.drift.model != "none"
    assert ("drift, not compensated" in crossbar) == drifts


def test_deviations_have_the_spread_that_the_profile_states():
    # Standard errors: of an sd at most 1 %, of the outliers' share of tau_mem more; 4 of them are allowed.
    profile = load_profile("generic_subthreshold_180nm_20")
    found = deviations(profile)
    total = np.sqrt(1.04 * 1.01 - 1)
    logs = {role: np.log1p(values) for role, values in found.items()}
    assert logs["v_th"].std() == pytest.approx(np.sqrt(np.log(1.04)), rel=0.025)
    assert logs["weight"].std() == pytest.approx(np.sqrt(np.log(1 + total**2)), rel=0.03)
    die = logs["weight"].mean(axis=1).std()
    assert die == pytest.approx(np.sqrt(np.log(1.01)), rel=0.2)  # 200 chips: standard error 5 %
    assert logs["v_th"].mean(axis=1).std() < 0.04  # no common part
    potentials = deviations(load_profile("brainscales2"))
    assert potentials["v_leak"].std() == pytest.approx(0.2, rel=0.025)
    assert potentials["v_th"].std() == pytest.approx(0.3, rel=0.025)


def test_deviations_leave_faults_and_quantisation_out():
    assert deviations(load_profile("dynapse2"))["weight"].min() > -0.6  # a dead synapse would be at -1
    assert deviations(Profile.relative(0.3))["weight"].std() == pytest.approx(0.3, rel=0.01)


def test_weight_errors_are_those_of_the_pair():
    weights = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    pcm = load_profile("pcm_ibm")
    assert pcm.crossbar is not None
    still = pcm.crossbar.model_copy(update={"drift": None, "read_noise": None})
    without = pcm.model_copy(update={"crossbar": still, "faults": type(pcm.faults)()})
    errors = weight_errors(without, weights)
    assert errors.shape == (200, 5)
    top = np.hypot(1.05538, 0.153825) / 25  # the device of its sign, and the clamped one of the other
    assert errors[:, [0, 4]].std() == pytest.approx(top, rel=0.15)  # 400 values: standard error 3.5 %
    assert errors[:, 2].std() == pytest.approx(np.sqrt(2) * 0.153825 / 25, rel=0.25)
    assert weight_errors(load_profile("ideal"), weights) is None


def test_nothing_to_plot():
    with pytest.raises(ConfigError, match="ideal: nothing varies, so there is nothing to plot"):
        profile_figure(load_profile("ideal"))
    with pytest.raises(ConfigError, match="nothing varies"):
        profile_figure(Profile.relative(0.0))


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_saving(ending, tmp_path):
    path = tmp_path / f"chip.{ending}"
    save_profile_figure(load_profile("rolls"), path)
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"%PDF-", b"<?xml")


def test_files_that_cannot_be_written(tmp_path):
    for name, said in (("chip.txt", "must end in one of"), ("chip", "must end in one of"), ("no/chip.png", "No such")):
        with pytest.raises(ConfigError, match=f"plot: .*{said}"):
            save_profile_figure(load_profile("rolls"), tmp_path / name)


def test_spans():
    assert [span(t) for t in (0.5, 1, 60, 3600, 86400, 172800, 30 * 86400, 365.25 * 86400)] == [
        *("0.5 s", "1 s", "1 min", "1 h", "1 day", "2 days", "30 days", "1 year")
    ]
