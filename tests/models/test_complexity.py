import json
from typing import Any, NoReturn

import pytest

from crossnets import cli
from crossnets.models.complexity import Complexity, complexity
from crossnets.training import presets

SHARED = {
    "alignment": Complexity(575, 529),
    "generator": Complexity(161_665, 54_865_408),
    "trunk": Complexity(38_144, 42_467_328),
    "dis_head": Complexity(111_297, 12_386_816),
    "met_head": Complexity(385_751, 12_660_224),
    "pos_head": Complexity(123_158, 12_398_609),
    "discriminator": Complexity(658_350, 79_912_977),
}
"""Costs of spec 2.2 to 2.4. The spec rounds multiply-adds. These are computed from its layers by hand."""

BY_JOINTS = {
    16: {
        "encoder": Complexity(3_600, 3_520),
        "decoder": Complexity(2_808, 2_720),
        "test": Complexity(164_110, 54_868_657),
    },
    21: {
        "encoder": Complexity(4_200, 4_120),
        "decoder": Complexity(3_423, 3_320),
        "test": Complexity(164_725, 54_869_257),
    },
    36: {
        "encoder": Complexity(6_000, 5_920),
        "decoder": Complexity(5_268, 5_120),
        "test": Complexity(166_570, 54_871_057),
    },
}
"""Spec 2.1 and 9."""


@pytest.mark.parametrize("joints", [16, 21, 36])
def test_cost_of_every_part_agrees_with_the_paper(joints: int) -> None:
    assert complexity(presets.paper_networks(joints)) == {**SHARED, **BY_JOINTS[joints]}


def test_the_heads_of_the_paper_add_up() -> None:
    found = complexity(presets.paper_networks(16))
    assert found["trunk"].parameters + found["dis_head"].parameters == 149_441  # spec 9, "Dis path"
    rounded = {name: round(cost.macs / 1e6, 2) for name, cost in found.items() if cost.macs > 1e6}
    assert rounded == {
        "generator": 54.87, "trunk": 42.47, "dis_head": 12.39, "met_head": 12.66, "pos_head": 12.40,
        "discriminator": 79.91, "test": 54.87,
    }  # fmt: skip


def test_the_combined_metric_ends_in_a_linear_layer_for_two_images() -> None:
    found = complexity(presets.paper_networks(21, "combined"))
    convolutions = 3 * (32 * 32 * 36 + 2 * 32)
    assert found["met_head"].parameters == convolutions + 512 * 512 + 512 + 1024 * 23 + 23
    others = found.keys() - {"met_head", "discriminator"}
    assert {name: found[name] for name in others} == {
        name: cost for name, cost in {**SHARED, **BY_JOINTS[21]}.items() if name in others
    }


def test_the_baseline_has_one_linear_layer_after_its_convolutions() -> None:
    found = complexity(presets.paper_networks(21, shared_latent=False))
    convolutions = 3 * (32 * 32 * 36 + 2 * 32)
    assert found == {"test": Complexity(38_144 + convolutions + 513 * 66, 42_467_328 + 12_386_304 + 512 * 66)}


def _info(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["crossnets", "info", *arguments])
    cli.main()
    return capsys.readouterr().out


def _strict_json(text: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_info_prints_the_costs_as_json_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _strict_json(_info(["--preset", "paper", "--joints", "16", "--json"], monkeypatch, capsys))
    expected = {name: {"parameters": c.parameters, "macs": c.macs} for name, c in {**SHARED, **BY_JOINTS[16]}.items()}
    assert found == {"preset": "paper", "joints": 16, "networks": expected}


def test_info_prints_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    table = _info(["--joints", "36"], monkeypatch, capsys)
    row = next(line for line in table.splitlines() if "test" in line)
    assert "166,570" in row
    assert "54,871,057" in row
