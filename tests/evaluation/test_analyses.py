"""Analyses in run files: pieces survive an interruption, results stand beside others, other ones are refused."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from snnrobust.errors import ProfileError, RunFileError
from snnrobust.evaluation import (
    Bits,
    Requirement,
    Sensitivity,
    Specification,
    Tornado,
    WorstCase,
    benchmark,
    bits_needed,
    read_tolerance,
    sensitivity,
    specify,
    tornado,
    worst_case,
)
from snnrobust.evaluation.analyses import Kept, analyses_of, chip_of, network_of, once
from snnrobust.evaluation.certificates.certificate import Certified, certify_boxes
from snnrobust.hardware import Profile, load_profile
from snnrobust.storage import Group, journal_path, locked, open_run, unwritten, write_run

ASKED = Requirement(accuracy=0.3, share=0.6)
LEVEL = Profile.relative(0.2)


def kept(path, net, **options):
    return Kept(path, "kind", "net", net, "chip", {"a": 1, **options.pop("config", {})}, **options)


class Answer(dict):
    """A result that is a number."""

    def to_group(self):
        return Group({}, {"n": self["n"]})

    @classmethod
    def from_group(cls, group):
        return cls(n=group.attrs["n"])


def counted(calls, piece=None):
    return Answer(n=int(sum(piece(f"{i}", functools.partial(squared, calls, i))["v"] for i in range(4))))


def squared(calls, i):
    if len(calls) == 2 and calls[-1:] != ["go on"]:
        calls.append("go on")
        raise KeyboardInterrupt
    calls.append(i)
    return {"v": np.array(i * i)}


def test_pieces_survive_an_interruption(tmp_path, network):
    path, calls = tmp_path / "run.h5", []
    with pytest.raises(KeyboardInterrupt):
        once(kept(path, network()), Answer, counted, calls)
    assert not path.exists()
    assert once(kept(path, network()), Answer, counted, calls) == {"n": 14}
    assert calls == [0, 1, "go on", 2, 3]
    assert once(kept(path, network()), Answer, counted, calls) == {"n": 14}
    assert len(calls) == 5
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5"]
    stored = open_run(path)
    assert stored.attrs["kind"] == "analysis"
    assert stored.group("models/net").attrs["hash"] == network().hash()
    (entry,) = analyses_of(stored, "kind")
    assert (network_of(entry), chip_of(entry)) == ("net", "chip")
    assert analyses_of(stored, "other") == {}


def test_what_is_refused_leaves_nothing_in_the_way_of_other_options(tmp_path, network):
    def refused(piece=None):
        piece("0", lambda: {"v": np.array(0)})
        raise ProfileError("no spread is small enough")

    path, calls = tmp_path / "run.h5", []
    with pytest.raises(ProfileError):
        once(kept(path, network()), Answer, refused)
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        once(kept(path, network()), Answer, counted, calls)
    assert list(tmp_path.iterdir())


def test_pieces_of_other_options_are_not_taken(tmp_path, network):
    path, calls = tmp_path / "run.h5", []
    with pytest.raises(KeyboardInterrupt):
        once(kept(path, network()), Answer, counted, calls)
    with pytest.raises(RunFileError, match="left by an interrupted analysis with other options"):
        kept(path, network(), config={"a": 2})
    assert once(kept(path, network(), config={"a": 2}, overwrite=True), Answer, counted, calls)["n"] == 14
    assert calls[-4:] == [0, 1, 2, 3]


def test_other_analyses_networks_and_writers_are_refused(tmp_path, network):
    path = tmp_path / "run.h5"
    once(kept(path, network()), Answer, counted, [0, 0, "go on"])
    with pytest.raises(RunFileError, match=r"holds another kind of net on chip \(a: 1 there, 2 here\)"):
        kept(path, network(), config={"a": 2})
    with pytest.raises(RunFileError, match="holds another network named 'net'"):
        kept(path, network(seed=1))
    again = kept(path, network(), config={"a": 3}, overwrite=True)
    with locked(path), pytest.raises(RunFileError, match="another process is writing"):
        again.finish(Group())
    again.finish(Group({}, {"n": 3}))
    assert analyses_of(open_run(path), "kind")["net on chip"].attrs["n"] == 3


def test_a_benchmark_keeps_what_stands_beside_it(tmp_path, network, task):
    path, net = tmp_path / "run.h5", network()

    def run(chips=2, **options):
        return benchmark({"net": net}, [0.1], task, instances=chips, run=path, show_progress=False, **options)

    once(kept(path, net), Answer, counted, [0, 0, "go on"])
    first = run()
    np.testing.assert_array_equal(read_tolerance(path)[0].accuracy, first.accuracy)
    assert "net on chip" in analyses_of(open_run(path), "kind")
    run()
    assert "net on chip" in analyses_of(open_run(path), "kind")
    assert open_run(path).attrs["kind"] == "benchmark"
    run(3, overwrite=True)
    assert analyses_of(open_run(path), "kind") == {}


def test_a_running_benchmark_is_not_written_over(tmp_path, network, task, monkeypatch):
    from snnrobust.evaluation import montecarlo

    path, net, whole = tmp_path / "run.h5", network(), montecarlo.run_block
    answers = []

    def block(*args, **options):
        try:
            kept(path, net).finish(Group())
        except RunFileError as error:
            answers.append(str(error))
        return whole(*args, **options)

    monkeypatch.setattr(montecarlo, "run_block", block)
    benchmark({"net": net}, [0.1], task, instances=2, run=path, show_progress=False)
    assert answers
    assert all("another process is writing" in answer for answer in answers)
    assert journal_path(path).exists() is False


ANALYSES = {
    Sensitivity: lambda net, task, piece: sensitivity(
        net, load_profile("dynapse1"), task, requirement=ASKED, chips=5, piece=piece
    ),
    Tornado: lambda net, task, piece: tornado(
        net, load_profile("generic_subthreshold_180nm_20"), task, requirement=ASKED, chips=3, piece=piece
    ),
    Specification: lambda net, task, piece: specify(
        net, LEVEL, task, replace(ASKED, accuracy=0.01), chips=12, piece=piece
    ),
    Bits: lambda net, task, piece: bits_needed(
        net, LEVEL, task, ASKED, weight_bits=(2, 4), scales=(1.0,), chips=8, piece=piece
    ),
    WorstCase: lambda net, task, piece: worst_case(
        net, task, (0.1, 0.2), steps=2, restarts=2, chips=2, samples=10, piece=piece
    ),
    Certified: lambda net, task, piece: certify_boxes(net, task.test, (0.0, 0.01), piece=piece),
}


@pytest.mark.parametrize("kind", ANALYSES, ids=lambda kind: kind.__name__)
def test_kept_pieces_give_the_same_result(kind, network, task, tmp_path):
    """An analysis from all of its pieces is the one without any, in the file and out of it."""
    pieces = {}

    def first(name, work):
        assert name not in pieces or kind is Specification
        pieces.setdefault(name, dict(work()))
        return pieces[name]

    def later(name, work):
        return pieces[name]

    fresh = ANALYSES[kind](network(), task, first).to_group()
    assert pieces
    again = ANALYSES[kind](network(), task, later).to_group()
    write_run(tmp_path / "a.h5", Group({"a": fresh}))
    read = kind.from_group(open_run(tmp_path / "a.h5").group("a")).to_group()
    for other in (again, read):
        assert other.attrs == fresh.attrs
        for name, array in fresh.arrays():
            np.testing.assert_array_equal(other.array(name).values, array.values)


def test_the_lock_of_a_run_file_leaves_a_journal_as_it_is(tmp_path):
    path = tmp_path / "run.h5"
    with unwritten(path):
        assert journal_path(path).exists()
    assert not journal_path(path).exists()
    journal_path(path).write_bytes(b"records")
    with unwritten(path):
        pass
    assert journal_path(path).read_bytes() == b"records"
