import pytest
from report_examples import run_group, tolerance, trained

from snnrobust.storage import write_run


@pytest.fixture
def run_file(tmp_path):
    """A finished benchmark of two networks over three levels and two profiles."""
    path = tmp_path / "run.h5"
    write_run(path, run_group(tolerance(), [trained(), trained("adversarial", epoch=1)]))
    return path
