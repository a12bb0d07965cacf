r"""Accuracy of simulated chips against mismatch level and profile, for the paper's objectives.

    python benchmarks/tolerance.py                         vowels, as in the demo
    python benchmarks/tolerance.py --task ecg4 --hidden 128 --tau-mem 10 --tau-syn 5 --epochs 20 --attack-steps 3 \
        --chips 100

Trains the same network with each objective, deploys all on the same chips, writes every chip's accuracy to
results/tolerance_<task>.csv beside this file and prints the table. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from snnrobust.errors import SnnRobustError
from snnrobust.evaluation import Tolerance
from snnrobust.evaluation.study import network_for, tolerance_study
from snnrobust.report.text import console, notes, tolerance_table
from snnrobust.tasks import load_task
from snnrobust.training import Adversarial, ForwardNoise, Objective, Standard

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
PROFILES = ("dynapse1_conservative", "generic_subthreshold_180nm_20", "pcm_ibm")
HERE = Path(__file__).parent


def write_csv(result: Tolerance, path: Path) -> None:
    """One row a chip: network, condition, chip, accuracy, balanced accuracy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("network", "condition", "chip", "accuracy", "balanced_accuracy"))
        for m, model in enumerate(result.models):
            for c, condition in enumerate(result.conditions):
                for chip in range(result.chips):
                    values = (result.measures[name][m, c, chip] for name in ("accuracy", "balanced_accuracy"))
                    writer.writerow((model, condition, chip, *(f"{v:.6f}" for v in values)))


def main() -> None:
    """Run the study of the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="vowels")
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--tau-mem", type=float, default=5.0, help="membrane time constant in steps of the task")
    parser.add_argument("--tau-syn", type=float, default=2.0, help="synaptic time constant in steps of the task")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--attack-steps", type=int, default=5)
    parser.add_argument("--chips", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--specification", type=float, default=0.9)
    parser.add_argument("--folder", type=Path, default=None, help="for run files; build/tolerance/<task> by default")
    arguments = parser.parse_args()
    objectives: dict[str, Objective] = {
        "standard": Standard(),
        "forward noise": ForwardNoise(level=0.3),
        "adversarial": Adversarial(steps=arguments.attack_steps),
    }
    task = load_task(arguments.task)
    times = {"tau_mem": arguments.tau_mem * task.dt, "tau_syn": arguments.tau_syn * task.dt}
    result = tolerance_study(
        task,
        objectives,
        arguments.folder or HERE.parent / "build" / "tolerance" / arguments.task,
        network=lambda: network_for(task, arguments.hidden, seed=arguments.seed, **times),
        epochs=arguments.epochs,
        seed=arguments.seed,
        chips=arguments.chips,
        profiles=PROFILES,
        levels=LEVELS,
    )
    write_csv(result, HERE / "results" / f"tolerance_{arguments.task}.csv")
    out = console()
    out.print(tolerance_table(result, arguments.specification))
    for line in notes(result):
        out.print(line)


if __name__ == "__main__":
    try:
        main()
    except SnnRobustError as error:
        raise SystemExit(f"error: {error}") from None
