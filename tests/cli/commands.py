"""Commands as a user types them, and what they say."""

from typer.testing import CliRunner

from snnrobust.cli import app


def run(*words):
    """The result of a command."""
    return CliRunner().invoke(app, [str(word) for word in words])


def said(result, code=0):
    """What it printed, without line breaks."""
    assert result.exit_code == code, result.output
    return " ".join(result.stdout.split())


def trained_in(folder, epochs):
    """The run file of a small network."""
    path = folder / "net.h5"
    said(run("train", "--hidden", 8, "--epochs", epochs, "--seed", 3, "-o", path))
    return path
