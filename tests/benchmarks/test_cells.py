"""Cells are done once, whoever runs them, and enter their file whole."""

import pytest
from cells import Cell, Results, claimed, work
from configuration import Configuration, Net, Stage

from snnrobust.errors import RunFileError, TrainingError
from snnrobust.training import Adversarial, Standard

CONFIGURATION = Configuration(Net(neurons=4), (Stage(objective=Standard()),))
COLUMNS = ("task", "method", "seed", "level", "accuracy")


def cell(seed: int) -> Cell:
    return Cell("vowels", "utterances", "standard", CONFIGURATION, 10, seed)


def row(seed: int, accuracy: str = "0.5", level: str = "0") -> dict[str, str]:
    return {"task": "vowels", "method": "standard", "seed": str(seed), "level": level, "accuracy": accuracy}


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "results" / "cells.csv", COLUMNS, ("task", "method", "seed"))


def test_a_cell_that_is_done_is_not_run_again(results, tmp_path):
    results.add([row(1)])
    seen = []

    def run(one: Cell) -> None:
        seen.append(one.seed)
        results.add([row(one.seed)])

    cells = [cell(0), cell(1), cell(2)]
    assert work(cells, results, tmp_path / "scratch", run) == 2
    assert seen == [0, 2]
    assert work(cells, results, tmp_path / "scratch", run) == 0
    assert not list((tmp_path / "scratch").iterdir())  # claims end


def test_a_cell_that_another_process_has_claimed_is_left_to_it(results, tmp_path):
    scratch, seen = tmp_path, []
    with claimed(scratch / f"{cell(0).file}.claim") as mine:
        assert mine
        work([cell(0), cell(1)], results, scratch, lambda one: seen.append(one.seed))
    assert seen == [1]


def test_a_cell_that_another_process_finished_since_is_not_run(results, tmp_path):
    seen = []

    def run(one: Cell) -> None:
        seen.append(one.seed)
        results.add([row(0), row(1)])  # as if the other process were quicker with the second

    assert work([cell(0), cell(1)], results, tmp_path, run) == 1
    assert seen == [0]


def test_a_cell_that_fails_stays_open_and_the_next_is_run(results, tmp_path, capsys):
    def run(one: Cell) -> None:
        if one.seed == 0:
            raise TrainingError("update 3: the gradient norm is nan")
        results.add([row(one.seed)])

    assert work([cell(0), cell(1)], results, tmp_path, run) == 1
    assert results.done() == {("vowels", "standard", "1")}
    assert "failed: update 3" in capsys.readouterr().out


def test_no_cell_is_started_after_the_end(results, tmp_path):
    assert work([cell(0)], results, tmp_path, lambda one: pytest.fail("started"), until=0.0) == 0


def test_rows_of_a_cell_replace_its_own_and_no_others(results):
    results.add([row(1, "0.1"), row(1, "0.2", "0.5")])
    results.add([row(2, "0.3")])
    results.add([row(1, "0.4")])
    assert results.rows() == [row(2, "0.3"), row(1, "0.4")]


def test_a_file_with_other_columns_is_refused(results):
    results.add([row(1)])
    with pytest.raises(RunFileError, match="columns"):
        Results(results.path, (*COLUMNS, "chip"), ("task",)).rows()


def test_whole_epochs_spend_the_passes():
    attack = Stage(objective=Adversarial(steps=2), share=0.4)  # noise 1, clean 1, steps 2, end 1: 5 passes an update
    both = Configuration(Net(neurons=4), (Stage(objective=Standard(), share=0.6), attack))
    assert (attack.epochs(60), both.epochs(60), both.spent(60)) == (5, 36 + 5, 36 + 25)
    assert Stage(objective=Adversarial(steps=10)).epochs(5) == 1  # at least one epoch


def test_the_text_of_a_configuration_says_what_is_not_default():
    stage = Stage(objective=Adversarial(steps=2, beta=0.25), share=0.5, learning_rate=0.004)
    text = str(Configuration(Net(neurons=4, tau_mem=(3.0, 60.0)), (stage,)))
    assert text == "lif4 tau 3-60 5 5; 0.5 of passes adversarial steps=2 beta=0.25 learning_rate=0.004"
