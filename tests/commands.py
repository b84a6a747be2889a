"""Commands in processes of their own that start at once.

A new process needs about six seconds of a core to import torch and this package. The processes here are forks of one
that has imported both and has done nothing else. Tests of how a process starts do not belong here.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType

_FORKS = multiprocessing.get_context("forkserver")
# torch imports torch._dynamo with the first optimiser, which takes two seconds.
_IMPORTED = ["torch._dynamo", "crossnets.cli", "crossnets.training.session", "onnxruntime"]


@dataclass(frozen=True)
class Ended:
    """How a command ended, and its output."""

    returncode: int
    stdout: str
    stderr: str


class Started:
    """A command that runs."""

    def __init__(self, process: BaseProcess, outputs: tempfile.TemporaryDirectory[str]) -> None:
        self._process = process
        self._outputs = outputs

    def poll(self) -> int | None:
        """The exit code, or minus the number of the signal that ended the command. None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to the command."""
        if self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, number)

    def wait(self, timeout_s: float = 240) -> Ended:
        """Wait for the end. Each command is waited for once.

        Raises:
            TimeoutError: The command did not end in this time, and is killed.
        """
        self._process.join(timeout_s)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join()
        with self._outputs as outputs:
            stdout, stderr = ((Path(outputs) / name).read_text() for name in ("stdout", "stderr"))
        if code is None:
            raise TimeoutError(f"The command did not end in {timeout_s} s. It wrote: {stderr[-3000:]}")
        return Ended(code, stdout, stderr)


def start(
    *words: str,
    program: Path | str = "crossnets",
    folder: Path | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Started:
    """Start a command and return at once.

    Args:
        words: The arguments.
        program: The name of a module, which runs as by `python -m`, or the path of a script.
        folder: The working directory. None stands for that of the tests.
        environment: Variables beside those of the tests.
    """
    _FORKS.set_forkserver_preload(_IMPORTED)  # unless a training of this process has started the server
    outputs = tempfile.TemporaryDirectory()
    place = folder or Path.cwd()
    # The server keeps the variables that the test had set which started it.
    variables = dict(os.environ) | dict(environment)
    process = _FORKS.Process(target=_be, args=(words, program, place, variables, Path(outputs.name)))
    process.start()
    return Started(process, outputs)


def run(*words: str, program: Path | str = "crossnets", folder: Path | None = None) -> Ended:
    """Run a command to its end. The arguments are those of `start`."""
    return start(*words, program=program, folder=folder).wait()


def _be(words: Sequence[str], program: Path | str, folder: Path, variables: dict[str, str], outputs: Path) -> None:
    """Become the command."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(outputs / name, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    # With the last one set, a training does not start again to set it.
    os.environ.update(variables, GLIBC_TUNABLES="glibc.malloc.hugetlb=0")
    sys.argv = [str(program), *words]
    try:
        if isinstance(program, Path):
            sys.path.insert(0, str(program.parent))
            runpy.run_path(str(program), run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
