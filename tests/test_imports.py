"""Imports run one way: snn <- hardware <- training <- evaluation <- report <- cli; the rest depends on none of them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import snnrobust

PACKAGE = Path(snnrobust.__file__).parent
CHAIN = ("snn", "hardware", "training", "evaluation", "report", "cli")
DYNAPSE2 = str(Path(__file__).parents[1] / "hardware_profiles" / "dynapse2.yaml")
LEAVES = ("tasks", "storage", "errors", "progress", "compiled", "executor")


def imports(path: Path) -> set[str]:
    """Rooms of the package that a file imports anywhere: at the top, in functions, for type checking alone."""
    package = ("snnrobust", *path.relative_to(PACKAGE).parent.parts)
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names = [module] if module != "snnrobust" else [f"snnrobust.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # import_module("snnrobust.room...")
            names = [node.value] if node.value.startswith("snnrobust.") and node.value.isprintable() else []
        else:
            continue
        found |= {name.split(".")[1].split(" ")[0] for name in names if name.startswith("snnrobust.")}
    return found


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(path for path in PACKAGE.rglob("*.py") if room(path) in CHAIN + LEAVES)


def test_the_rooms_are_there():
    assert {room(path) for path in FILES} == {*CHAIN, *LEAVES}
    assert imports(PACKAGE / "cli" / "experiments.py") >= {
        "report",
        "evaluation",
        "tasks",
    }  # some of them inside functions


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    own = room(path)
    later = CHAIN[CHAIN.index(own) + 1 :] if own in CHAIN else CHAIN
    assert not imports(path) & set(later)


def loaded(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after running the code."""
    code += "\nimport sys; print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.rpartition("LOADED ")[2].split())


def command(*words: str) -> str:
    return (
        f"import sys; sys.argv = ['snnrobust', *{words!r}]\n"
        "from snnrobust.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code"
    )


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import snnrobust", {"norse", "torch", "numba", "h5py", "matplotlib"}),
        (command("--help"), {"torch", "numba", "norse"}),
        (command("profiles", "list"), {"torch", "numba", "norse", "matplotlib"}),
        (command("profiles", "show", "dynapse1"), {"torch", "numba", "norse", "matplotlib"}),
        (command("profiles", "diff", "dynapse1", "dynapse2"), {"torch", "numba", "norse", "matplotlib"}),
        (command("profiles", "schema"), {"torch", "numba", "norse", "matplotlib"}),
        (command("profiles", "validate", DYNAPSE2), {"torch", "numba", "norse", "matplotlib"}),
        (
            "from snnrobust.hardware.measurement import fit_measurements, read_measurements, report, to_profile",
            {"torch", "numba", "norse"},
        ),
        ("import snnrobust; snnrobust.Network; snnrobust.Chip; snnrobust.train", {"norse"}),
    ],
    ids=[
        "import",
        "help",
        "profiles list",
        "profiles show",
        "profiles diff",
        "profiles schema",
        "profiles validate",
        "profiles fit",
        "torch without norse",
    ],
)
def test_what_is_light_stays_light(code, heavy):
    modules = loaded(code)
    assert "snnrobust" in modules
    assert not modules & heavy
