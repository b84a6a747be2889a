"""From frames on disk to numbers, through the command line as a person uses it."""

import copy
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import tyro

from crossnets import cli
from crossnets.geometry.skeleton import MSRA21
from crossnets.training.checkpoints import load_place
from crossnets.training.run import check_same
from tests import commands
from tests.datasets.make import make_nyu, make_recording


def crossnets(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "crossnets", *words], capture_output=True, text=True, check=False)


@pytest.fixture
def in_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., commands.Ended]]:
    """Run commands in this process, which imports the package once for all of them."""

    def run(*words: str) -> commands.Ended:
        monkeypatch.setattr(sys, "argv", ["crossnets", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        said = capsys.readouterr()
        return commands.Ended(code, said.out, said.err)

    # With it set, a training does not start again to set it.
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    before = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recording(tmp_path_factory.mktemp("recording") / "desk", 6, MSRA21, unlabelled=(2,)).root


@pytest.fixture(scope="module")
def run(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "desk"
    words = ["train", "--data", str(recording), "--out", str(out), "--budget", "2s", "--no-shared-latent"]
    done = crossnets(*words)  # starts as for a user, with huge pages
    assert done.returncode == 0, done.stderr
    assert "5 labelled and 0 unlabelled frames" in done.stderr
    again = commands.run(*words)
    assert "is finished" in again.stderr
    return out


def test_train_and_evaluate(recording: Path, run: Path, tmp_path: Path) -> None:
    words = ("evaluate", "--model", str(run), "--data", str(recording), "--out", str(tmp_path), "--json")
    done = commands.run(*words)
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)
    assert (scores["frames"], scores["dataset"], scores["centers"]) == (5, "recording", "image")
    assert scores["mean_mm"] > 0
    assert scores == json.loads((tmp_path / "scores.json").read_text())
    refused = commands.run(*words)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is not overwritten" in refused.stderr


def test_frames_that_came_or_went_are_told(recording: Path, run: Path) -> None:
    begun = json.loads((run / "config.json").read_text())
    assert begun["data"]["frames"] == [{"name": "recording", "frames": 6, "sequences": ["desk"]}]
    asked = copy.deepcopy(begun)
    asked["data"]["frames"][0]["frames"] = 9
    with pytest.raises(ValueError, match=r"\(data.frames.0.frames: 6 there, 9 asked\)"):
        check_same(run, begun, asked)


def test_an_interrupted_training_says_how_it_goes_on(recording: Path, tmp_path: Path) -> None:
    words = ["train", "--data", str(recording), "--out", str(tmp_path / "run"), "--no-shared-latent"]
    process = commands.start(*words, folder=tmp_path)
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("run/log.jsonl")):
        assert process.poll() is None, process.wait().stderr
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    done = process.wait(60)
    assert done.returncode == 130, done.stderr
    assert "the same command goes on from there" in done.stderr
    assert load_place(tmp_path / "run") is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data", "info", "/nowhere"), "/nowhere"),
        (("train", "--data", "/nowhere", "--out", "x"), "/nowhere"),
        (("train", "--preset", "crossnets", "--labels", "2%", "--out", "x"), "--data, which is not given"),
        (("train", "--preset", "crossnets", "--labels", "150%", "--out", "x"), "a share above 0 and at most 100"),
        (("train", "--preset", "crossnets", "--checkpoint-s", "0", "--out", "x"), "expected seconds above 0"),
        (("train", "--data", "/nowhere", "--seed", "-1", "--out", "x"), "--seed -1: expected 0 or more"),
        (("train", "--data", "/nowhere", "--patience", "3", "--out", "x"), "but --validation is not given"),
        (("train", "--preset", "crossnets", "--validation", "10%", "--out", "x"), "--data, which is not given"),
        (("train", "--preset", "detector", "--extend", "--out", "/nowhere/x"), "but /nowhere/x has none"),
        (("evaluate", "--model", "m"), "Give either --data"),
        (("predict", "runs/mistyped", "a.png"), "neither a run or model nor a frame at runs/mistyped"),
        (("evaluate", "--labels", "a", "--predictions", "b"), "add --dataset"),
        (("evaluate", "--model", "/nowhere", "--data", "/nowhere"), "/nowhere"),
    ],
)
def test_a_mistake_ends_in_one_message(
    in_process: Callable[..., commands.Ended], words: tuple[str, ...], message: str
) -> None:
    done = in_process(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("crossnets: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 9 TiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 9 GiB"),
    ],
)
def test_memory_that_runs_out_is_said(
    in_process: Callable[..., commands.Ended], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(cli, "_run", raising(error))
    done = in_process("info")
    assert done.returncode == 2
    assert done.stderr.startswith(f"crossnets: Memory has run out ({error}). Give a smaller --batch-size")


def test_other_errors_of_a_library_keep_their_traceback(
    in_process: Callable[..., commands.Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_run", raising(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        in_process("info")


def test_a_package_that_does_not_load_is_named(
    in_process: Callable[..., commands.Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "some_package.py").write_text("from some_package import nothing\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cli, "_run", lambda *_: importlib.import_module("some_package"))
    done = in_process("info")
    assert done.returncode == 2
    assert done.stderr.startswith("crossnets: some_package is installed but does not load: cannot import name")
    assert "Install it again" in done.stderr


def test_a_reader_of_the_output_that_has_ended_ends_the_command() -> None:
    words = [sys.executable, "-m", "crossnets", "train", "--preset", "paper", "--help"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141


def raising(error: Exception) -> Callable[..., None]:
    def run(*_: object) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("preset", "option"),
    [("crossnets", "--metric"), ("detector", "--no-smoothness"), ("detector", "--data"), ("detector", "--validation")],
)
def test_an_option_that_a_preset_ignores_does_not_exist(
    in_process: Callable[..., commands.Ended], preset: str, option: str
) -> None:
    done = in_process("train", f"--preset={preset}", option, "x", "--out", "x")
    assert done.returncode == 2
    assert "Unrecognized" in done.stderr
    assert option in done.stderr
    assert f"│ {option} " not in in_process("train", "--preset", preset, "--help").stdout


def test_the_version_is_printed() -> None:
    done = crossnets("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("crossnets 0.")


def test_an_output_of_few_letters_gets_the_table_all_the_same(tmp_path: Path) -> None:
    row = " ".join(["100.0 100.0 500.0"] * 16) + "\n"
    (tmp_path / "a.txt").write_text(row)
    words = [
        "evaluate",
        "--dataset",
        "icvl",
        "--predictions",
        str(tmp_path / "a.txt"),
        "--labels",
        str(tmp_path / "a.txt"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "crossnets", *words],
        capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"0.0" in done.stdout


def test_the_command_line_needs_neither_torch_nor_scipy() -> None:
    code = "import sys; import crossnets.cli; sys.exit(bool({'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nyu_labels_without_scipy_name_the_extra(tmp_path: Path) -> None:
    make_nyu(tmp_path)
    code = "import sys; sys.modules['scipy'] = None; from crossnets.cli import main; main()"
    words = ("evaluate", "--data", f"nyu:{tmp_path}", "--out", str(tmp_path / "out"))
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install '.[nyu]' in " in done.stderr  # the tests run in a checkout


def test_a_missing_extra_is_named() -> None:
    code = "import sys; sys.modules['torch'] = None; from crossnets.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "info"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install '.[train]' in " in done.stderr  # the tests run in a checkout


def test_an_installed_package_names_the_checkout_that_pip_took(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checkout = tmp_path / "clone here"
    (checkout / "src" / "crossnets").mkdir(parents=True)
    (checkout / "pyproject.toml").touch()
    noted = SimpleNamespace(read_text=lambda name: json.dumps({"url": checkout.as_uri(), "dir_info": {}}))
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "site-packages" / "crossnets" / "cli" / "__init__.py"))
    monkeypatch.setattr(cli, "distribution", lambda name: noted)
    assert cli._install("render") == f"pip install '.[render]' in {checkout}"
    shutil.rmtree(checkout)
    assert cli._install("render") == "pip install 'crossnets[render]'"


@pytest.mark.parametrize(
    ("package", "words", "extras"),
    [
        ("torch", "train --data nyu:here --out runs/nyu", "train"),
        ("torch", "export runs/ours --to openvino", "export,fast"),
        ("numba", "benchmark latency", "export"),
        ("numba", "predict virtual --video a.gif", "gif,render"),
        ("PIL", "predict realsense:123 --video a.gif", "gif,realsense"),
        ("scipy", "evaluate --data nyu:here --report page", "nyu,report"),
        ("scipy", "evaluate --data nyu:here", "nyu"),
    ],
)
def test_all_missing_extras_are_named_at_once(
    package: str, words: str, extras: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in cli._EXTRAS:
        monkeypatch.setitem(sys.modules, module, None)
    assert cli._extras_for(package, words.split()) == extras


@pytest.mark.parametrize(("word", "guess"), [("predcit", "predict"), ("eval", "evaluate"), ("xyz", None)])
def test_a_mistyped_command_is_guessed(
    word: str, guess: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["crossnets", word, "--data", "somewhere"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"'{word}' is not a command." in said
    assert (f"Did you mean crossnets {guess}?" in said) if guess else ("Did you mean" not in said)


@pytest.mark.parametrize("again", ["--set", "--set=model=B"])
def test_an_option_that_is_given_twice_is_refused(
    again: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", "experiments/cvar.toml", "--set", "cvar=A", again, "model=B"]
    monkeypatch.setattr(sys, "argv", ["crossnets", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "--set is given twice. Give it once, with all its values after it" in capsys.readouterr().err


def test_ctrl_c_ends_in_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*words: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tyro.extras, "subcommand_cli_from_dict", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert "stopped" in capsys.readouterr().err
