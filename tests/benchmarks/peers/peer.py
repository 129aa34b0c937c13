"""The peer's virtual environment and its worker process."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
WORKER = HERE / "worker_torch.py"
PYTHONS = ("python3.11", "python3.12")  # those for which NumPy 1.26 has wheels
REST_S = 0.25  # the peer's threads wait busily for a while


def default_folder() -> Path:
    """A folder in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "equijax" / "peer-torch"


def environment(folder: Path) -> Path:
    """Returns the interpreter in ``folder``; makes the environment where it is missing or has other versions.

    Raises:
      RuntimeError: no compiler for Fortran, no suitable Python, or pip failed; says what to do.
    """
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    wanted = REQUIREMENTS.read_text()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    if not shutil.which("gfortran"):
        raise RuntimeError(
            "`gfortran` is missing: escnn depends on py3nj, which is built from Fortran. Install it (`apt install gfortran`) "
            "and run again, or leave escnn out with `--no-peer`."
        )
    base = next(filter(None, map(shutil.which, PYTHONS)), None)
    if base is None:
        raise RuntimeError(f"None of {', '.join(PYTHONS)} is there; escnn {wanted_version('escnn')} needs one of them.")
    print(f"Makes the peer's environment in {folder}.", file=sys.stderr)
    for command in ([base, "-m", "venv", "--clear", folder], [python, "-m", "pip", "install", "-q", "-r", REQUIREMENTS]):
        if subprocess.run(command).returncode:
            raise RuntimeError(f"`{' '.join(map(str, command))}` failed; its output is above.")
    stamp.write_text(wanted)
    return python


def wanted_version(package: str) -> str:
    """The version that the requirements pin."""
    lines = REQUIREMENTS.read_text().splitlines()
    return next(line.split("==")[1] for line in lines if line.startswith(f"{package}=="))


def fields(case: Any) -> dict:
    """What the worker is told of a case."""
    return {"family": case.family, **dataclasses.asdict(case)}


def construction_s(python: Path, case: Any) -> float:
    """Seconds that the first construction of a network takes in a new process, without imports."""
    return json.loads(subprocess.check_output([python, WORKER, "--construct", json.dumps(fields(case))]))


class Peer:
    """escnn, PyTorch or PyTorch Geometric in another process, as a contender: the methods of ``programs.Contender``.

    ``data`` is a file of arrays, the inputs and weights that all sides get, where they get the same.
    """

    def __init__(self, python: Path, case: Any, data: str | None = None):
        self.case, self.data = fields(case), data
        self.parameters, self.compile_s = 0, {}
        self.process = subprocess.Popen([python, WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.versions = self._answer()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise RuntimeError(f"The peer's process ended with exit status {self.process.wait()}; its output is above.")
        return json.loads(line)

    def _ask(self, **request: Any) -> dict:
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self._answer()

    def build(self) -> None:
        """Makes a new network or layer and new arrays."""
        self.parameters = self._ask(build=self.case, data=self.data)["parameters"]

    def results(self) -> dict[str, np.ndarray]:
        """Output and gradients by name, in the memory layout of JAX."""
        file = f"{self.data}.results.npz"
        self._ask(results=file)
        return dict(np.load(file))

    def run(self, mode: str, count: int) -> tuple[list[float], float | None]:
        """Runs once untimed and ``count`` times; returns milliseconds, and the last value where it is one number."""
        answer = self._ask(run=mode, count=count)
        time.sleep(REST_S)
        return answer["ms"], answer["value"]

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()
