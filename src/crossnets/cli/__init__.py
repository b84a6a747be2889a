"""Commands: parse, call, print."""

import io
import json
import os
import platform
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from urllib.parse import urlparse
from urllib.request import url2pathname

import tyro

from crossnets.atomic import MAKE_ROOM, is_full
from crossnets.cli import (
    benchmark,
    compare,
    data,
    demo,
    doctor,
    evaluate,
    export,
    generate,
    info,
    live,
    predict,
    record,
    sweep,
    synthesize,
    train,
)
from crossnets.cli.ending import end
from crossnets.datasets.dataset import FrameError

TRACEBACK = "CROSSNETS_TRACEBACK"
_EXTRAS = {
    "anny": "anny",
    "numba": "render",
    "array_api_compat": "render",
    "matplotlib": "report",
    "PIL": "gif",
    "onnx": "export",
    "onnxscript": "export",
    "openvino": "fast",
    "pyrealsense2": "realsense",
    "scipy": "nyu",
}
"""Which extra of the package brings a module; `train` the others."""
_ASKED = {
    "virtual": "numba",
    "realsense": "pyrealsense2",
    ".db3": "pyrealsense2",
    "nyu": "scipy",
    "--report": "matplotlib",
    ".gif": "PIL",
    "openvino": "openvino",
}
"""Modules that words of a command line ask for: a source, an option, or the end of a name."""
_WITHIN = {
    "export": ("gif", "nyu", "render", "report", "train"),
    "train": ("gif", "nyu", "render", "report"),
    "render": ("nyu",),
}
"""Extras that others bring."""


def _extras_for(package: str, words: Sequence[str]) -> str:
    """All extras that a command lacks, as pip takes them, such as `gif,realsense`."""
    asked = {part for word in words for part in (word, word.partition(":")[0], Path(word).suffix)}
    missing = {package, *(module for word, module in _ASKED.items() if word in asked and find_spec(module) is None)}
    extras = {_EXTRAS.get(module, "train") for module in missing}
    if words[0] in ("export", "benchmark"):
        extras.add("export")
    for whole, parts in _WITHIN.items():
        if whole in extras:
            extras.difference_update(parts)
    return ",".join(sorted(extras))


def _install(extra: str) -> str:
    """How this installation gets an extra. The package of a checkout is not on PyPI."""
    for checkout in (Path(__file__).resolve().parents[3], _installed_from()):
        if checkout and (checkout / "pyproject.toml").is_file() and (checkout / "src" / "crossnets").is_dir():
            return f"pip install '.[{extra}]' in {checkout}"
    return f"pip install 'crossnets[{extra}]'"


def _installed_from() -> Path | None:
    """The folder that pip installed the package from, as it noted (PEP 610)."""
    try:
        noted = json.loads(distribution("crossnets").read_text("direct_url.json") or "{}")
        url = urlparse(noted.get("url", ""))
    except (PackageNotFoundError, ValueError, AttributeError):
        return None
    return Path(url2pathname(url.path)) if url.scheme == "file" else None


def _without(package: str) -> str:
    """Describe what works without a missing package. The text is empty if nothing does."""
    if package == "PIL":
        return " A film that ends in .mp4 needs no extra."
    return " A recording or a folder of PNGs needs no extra." if _virtual(sys.argv[1:]) else ""


def _virtual(words: Sequence[str]) -> bool:
    """Whether a command reads the rendered hand, which is the default source of `live`."""
    sources = [word for word in words[1:] if not word.startswith("-")]
    return (list(words[:1]) == ["live"] and not sources) or any(word.partition(":")[0] == "virtual" for word in sources)


def _check_command(words: Sequence[str], commands: Iterable[str]) -> None:
    """End with a guess if the first word is not a command."""
    if not words or words[0].startswith("-") or words[0] in commands:
        return
    near = get_close_matches(words[0], commands, 1, 0.5)
    guess = f" Did you mean crossnets {near[0]}?" if near else ""
    end(f"{words[0]!r} is not a command.{guess} The commands are {', '.join(commands)}.", 2)


def _check_repeated(words: Sequence[str]) -> None:
    """End if an option is given twice. The parser would drop the first without a word."""
    seen: set[str] = set()
    for word in words:
        name = word.partition("=")[0].replace("_", "-")
        if not name.startswith("--"):
            continue
        if name in seen:
            end(f"{name} is given twice. Give it once, with all its values after it, such as {name} A B for a list.", 2)
        seen.add(name)


def _run(commands: dict[str, Callable[..., None]], words: list[str]) -> None:
    """Parse the words and run their command. The parser of one command guesses mistyped options among its own."""
    config = (tyro.conf.DisallowNone,)
    if words and words[0] in commands:
        tyro.cli(commands[words[0]], prog=f"crossnets {words[0]}", args=words[1:], config=config)
    else:
        tyro.extras.subcommand_cli_from_dict(commands, prog="crossnets", args=words, config=config)


def _with_huge_pages() -> None:
    """Start again with glibc's huge pages, which a process must ask for at its start; up to 1.2 times the speed."""
    wanted = "glibc.malloc.hugetlb=1"
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    trains = sys.argv[1:2] in (["train"], ["demo"]) or sys.argv[1:3] == ["benchmark", "training"]
    if not trains or platform.libc_ver()[0] != "glibc" or "glibc.malloc.hugetlb" in tunables:
        return
    os.environ["GLIBC_TUNABLES"] = f"{tunables}:{wanted}" if tunables else wanted
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # any program that calls `main`


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as with Ctrl-C. Half-written files are removed, and a recording is closed."""
    raise KeyboardInterrupt


def _explained(error: Exception) -> str | None:
    """The message of an error. None if it is neither a mistake of the user nor a resource that has run out."""
    if isinstance(error, PermissionError) and error.filename is not None:
        return f"{error.filename}: permission denied. Give yourself the right to it (chmod u+rwX), or name another."
    if isinstance(error, ValueError | OSError | FrameError):
        # The error of a full disk names no file where a stream was written.
        return f"{error}. {MAKE_ROOM}" if is_full(error) else str(error)
    # torch raises a RuntimeError that only its text tells from others.
    text = str(error).lower()
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text:
        advice = "Give a smaller --batch-size to a training, or end other programs."
        return f"Memory has run out ({str(error)[:200]}). {advice}"
    return None


def main() -> None:
    """Run the command line. A mistake of the user ends in one message and exit code 2."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"crossnets {version('crossnets')}")
        return
    _with_huge_pages()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an output that knows few letters gets ? for the others
            stream.reconfigure(errors="replace")
    warnings.formatwarning = lambda message, *_: f"crossnets: {message}\n"
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        commands = {
            "demo": demo.demo,
            "train": train.for_preset(sys.argv),
            "evaluate": evaluate.evaluate,
            "compare": compare.compare,
            "sweep": sweep.sweep,
            "benchmark": benchmark.benchmark,
            "predict": predict.predict,
            "doctor": doctor.doctor,
            "generate": generate.generate,
            "live": live.live,
            "record": record.record,
            "export": export.export,
            "info": info.info,
            "data": data.data,
            "synthesize": synthesize.synthesize,
        }
        _check_command(sys.argv[1:], commands)
        _check_repeated(sys.argv[1:])
        _run(commands, sys.argv[1:])
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "crossnets":
            raise
        extra = _extras_for(package, sys.argv[1:])
        end(f"{package} is not installed, but this command needs it: {_install(extra)}.{_without(package)}", 2)
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "crossnets") or os.environ.get(TRACEBACK):
            raise
        end(f"{package} is installed but does not load: {error}. Install it again, or a version that fits.", 2)
    # Commands that can stop half-way handle it themselves.
    except KeyboardInterrupt:
        end("stopped; what was not finished is not written.", 130)
    # The program that reads the output, such as `head`, has ended.
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, OSError, FrameError, MemoryError, RuntimeError) as error:
        said = _explained(error)
        if said is None or os.environ.get(TRACEBACK):
            raise
        end(said, 2)
