"""Installs the peers, each with a fixed version into a folder of its own below the cache folder."""

import os
import pathlib
import subprocess
import sys
import venv

# pyarrow hands results over without a copy; the engines in Python processes share its version.
PYARROW = "pyarrow==26.0.1"


class NotRun(Exception):
    """An engine cannot be had or started here: the text says why."""


def cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "tidemill-compare"


def environment(name, packages, with_dependencies=True):
    """The Python of an environment with these packages; made once."""
    folder = cache_folder() / name
    python = folder / "bin" / "python"
    done = folder / "installed"
    if done.exists() and done.read_text().split() == packages:
        return python
    print(f"installing {', '.join(packages)}", file=sys.stderr)
    try:
        venv.create(folder, with_pip=True)
        options = [] if with_dependencies else ["--no-deps"]
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options, *packages]
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as problem:
        said = getattr(problem, "stderr", None) or str(problem)
        raise NotRun(f"{packages[0]} could not be installed: {said.strip().splitlines()[-1][:200]}") from problem
    done.write_text("\n".join(packages))
    return python
