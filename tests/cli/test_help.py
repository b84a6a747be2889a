"""The help of every command has an example and no noise."""

import re
import sys

import pytest

from crossnets import cli

COMMANDS = (
    "train", "train --preset crossing", "train --preset crossnets", "train --preset detector", "predict", "evaluate",
    "compare", "sweep", "benchmark", "benchmark latency", "benchmark training", "doctor", "generate", "live", "record",
    "export", "info", "data", "data info", "data convert", "data pack", "synthesize", "demo",
)  # fmt: skip


def help_of(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(cli, "_with_huge_pages", lambda: None)  # starts this process again
    monkeypatch.setattr(sys, "argv", ["crossnets", *command.split(), "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(command, monkeypatch, capsys)
    assert re.search(rf"^Example: crossnets {command.split(maxsplit=1)[0]} ", text, re.MULTILINE)
    assert "None}" not in text
    assert "{None" not in text
    assert not re.search(r"\[(STR|PATH) \[", text)


def test_ablations_come_last(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of("train", monkeypatch, capsys)
    groups = [text.index(f"{name} options") for name in ("run", "data", "choices", "ablations")]
    assert groups == sorted(groups)
    assert groups[-1] < text.index("--no-smoothness")


def test_all_commands_are_tested(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    listed = re.search(r"\{([a-z,]+)\}", help_of("", monkeypatch, capsys))
    assert listed is not None
    assert set(listed.group(1).split(",")) == {command.split()[0] for command in COMMANDS}
