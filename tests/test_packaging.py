"""The wheel and the editable install, each used from outside the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
SOURCES = ("snnrobust", "hardware_profiles", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
PROFILES = sorted(file.name for file in (CHECKOUT / "hardware_profiles").glob("*.yaml"))

pytestmark = pytest.mark.slow


def isolation():
    """The build tools of this environment where they are recent enough; else pip fetches them."""
    try:
        recent = int(version("setuptools").partition(".")[0]) >= 77
    except PackageNotFoundError:
        recent = False
    return ["--no-build-isolation"] if recent else []


def pip(*words):
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, words)], check=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The files that are built, apart from the checkout, which a build would litter."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        path = CHECKOUT / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", source, "--no-deps", *isolation(), "-w", folder)
    (path,) = folder.glob("*.whl")
    return path


def environment_of(folder):
    """A new environment that sees the dependencies of the running one, but not its editable snnrobust.

    A .pth file names their folder; .pth files in that folder, and so the editable finder, are not run from there.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    seen = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (packages / "dependencies.pth").write_text("\n".join(seen) + "\n")
    return folder / "bin" / "python"


def outside(python, *words, cwd):
    """The standard output of a command of the environment, run outside the checkout."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SNNROBUST_DATA")}
    result = subprocess.run(
        [str(python.parent / words[0]), *words[1:]], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def check(python, expected_home, cwd):
    """An installed snnrobust finds its profiles and its data."""
    home = outside(python, "python", "-c", "import snnrobust; print(snnrobust.__file__)", cwd=cwd).strip()
    assert Path(home).is_relative_to(expected_home)
    listed = outside(python, "snnrobust", "profiles", "list", cwd=cwd)
    assert all(name.removesuffix(".yaml") in listed for name in PROFILES)
    assert "207" in outside(python, "snnrobust", "tasks", "show", "vowels", cwd=cwd)
    assert "dynapse1 (" in outside(python, "snnrobust", "profiles", "show", "dynapse1", cwd=cwd)


def test_what_the_wheel_holds(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"snnrobust/hardware_profiles/{name}" for name in PROFILES}
    wanted |= {"snnrobust/hardware_profiles/__init__.py", "snnrobust/py.typed", "snnrobust/report/report.html"}
    wanted |= {"snnrobust/tasks/data/japanese_vowels.npz", "snnrobust/tasks/data/NOTICE.md"}
    clothes = ("LICENSE", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    wanted |= {f"snnrobust/tasks/data/fashion_mnist/{name}" for name in clothes}
    assert len(PROFILES) >= 18
    assert wanted <= names
    modules = {str(p.relative_to(CHECKOUT)) for p in (CHECKOUT / "snnrobust").rglob("*.py")}
    assert modules <= names, "a package is missing from the list in setup.cfg"
    assert any(name.endswith("licenses/LICENSE") for name in names)
    top = {name.partition("/")[0] for name in names}
    assert top == {"snnrobust", f"snnrobust-{wheel.name.split('-')[1]}.dist-info"}
    assert wheel.stat().st_size < 8_000_000  # of which the images are 4.4


def test_the_version_is_said_once(wheel):
    import snnrobust

    assert wheel.name.startswith(f"snnrobust-{snnrobust.__version__}-")


def test_the_wheel_outside_the_checkout(wheel, tmp_path):
    python = environment_of(tmp_path / "venv")
    pip("--python", python, "install", "--no-deps", "--no-index", wheel)
    check(python, tmp_path / "venv", cwd=tmp_path)


def test_the_editable_install_outside_the_checkout(source, tmp_path):
    python = environment_of(tmp_path / "venv")
    pip("--python", python, "install", "--no-deps", *isolation(), "--editable", source)
    check(python, source, cwd=tmp_path)
