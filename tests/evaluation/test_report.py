import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossnets.evaluation.evaluation import Compared, Evaluation, evaluate_compared
from crossnets.evaluation.report import charts, write_report
from crossnets.evaluation.report.examples import worst_and_median
from crossnets.evaluation.report.published import label_fractions, published_methods
from crossnets.evaluation.scores import AngleBin
from crossnets.geometry.skeleton import CVAR21
from crossnets.types import PredictedFrame

from .tiny import CAMERA, TinyDataset

INDICES = (0, 1, 3, 5, 6, 7)


def _evaluation(tiny: TinyDataset, dataset: str = "cvar") -> Evaluation:
    labels = tiny.joints_mm[list(INDICES)].astype(np.float64)
    predicted = labels + np.arange(6.0)[:, None, None]
    predicted[1] = np.nan
    sequences = ("P1", "P1", "P1", "P4", "P4", "P4")
    compared = Compared(predicted, labels, sequences, CVAR21, CAMERA, "image", "a <model>", indices=INDICES)
    return evaluate_compared(dataset, compared)


def _without_pictures(page: str) -> str:
    return re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)


@pytest.mark.parametrize("dataset", ["cvar", "nyu", "icvl", "msra"])
def test_page_has_no_external_resources(tmp_path: Path, tiny: TinyDataset, dataset: str) -> None:
    path = write_report(tmp_path / "report", _evaluation(tiny, dataset), tiny)
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]
    page = _without_pictures(path.read_text(encoding="utf-8"))
    assert "http:" not in page
    assert "https:" not in page
    assert "url(//" not in page
    assert not re.search(r"<(script|link|iframe|object|embed)\b|@import", page)
    assert set(re.findall(r'(?:src|href)="([^"#]*)', page)) <= {""}
    assert "currentColor" in page
    assert "a &lt;model&gt;" in page
    assert "a <model>" not in page


def test_page_shows_frames_of_a_data_set(tmp_path: Path, tiny: TinyDataset) -> None:
    page = write_report(tmp_path, _evaluation(tiny), tiny).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 10  # the five predicted frames, twice
    assert "Frames without a prediction: 1 of 6." in page
    assert "data:image/png" not in write_report(tmp_path, _evaluation(tiny), None).read_text(encoding="utf-8")


def test_the_title_names_model_and_data_set(tmp_path: Path, tiny: TinyDataset) -> None:
    evaluation = _evaluation(tiny)
    named = replace(evaluation.compared, source="ours (0.2.0, weights abc)")
    page = write_report(tmp_path / "cvar", replace(evaluation, compared=named)).read_text(encoding="utf-8")
    assert "<h1>ours on CVAR</h1>" in page
    assert "ours (0.2.0, weights abc): 6 frames" in page
    frames = tuple(PredictedFrame(f"recording/kitchen/{n}", "kitchen", None, None) for n in range(6))
    mine = replace(evaluation, dataset="recording", compared=replace(named, frames=frames))
    page = write_report(tmp_path / "mine", mine).read_text(encoding="utf-8")
    assert "<h1>ours on the recording kitchen</h1>" in page


def test_a_table_that_is_wider_than_the_page_scrolls_by_itself(tmp_path: Path, tiny: TinyDataset) -> None:
    page = write_report(tmp_path, _evaluation(tiny)).read_text(encoding="utf-8")
    assert page.count("<table>") == page.count('<div class="scroll"><table>') > 0
    assert ".scroll { overflow-x: auto;" in page


def test_missing_parts_are_explained_and_empty_charts_left_out(tmp_path: Path, tiny: TinyDataset) -> None:
    evaluation = _evaluation(tiny, "recording")
    page = write_report(tmp_path / "bare", evaluation).read_text(encoding="utf-8")
    assert "no published curves for RECORDING" in page
    assert "state no deviations" in page
    assert "no frames are shown" in page
    assert "Error by yaw" not in page
    unlabelled = replace(evaluation, scores=replace(evaluation.scores, by_yaw=None, by_pitch=None))
    page = write_report(tmp_path / "palm", unlabelled).read_text(encoding="utf-8")
    assert "lack the joints of the palm" in page
    few = tuple(AngleBin(start, start + 2, 3, 9.0) for start in range(-40, 40, 2))
    some = replace(evaluation.scores, by_yaw=few, by_pitch=few)
    page = write_report(tmp_path / "few", replace(evaluation, scores=some), tiny).read_text(encoding="utf-8")
    assert "Error by yaw" not in page
    assert "need 200 frames in the range of an angle. Only 120 are." in page
    assert "no frames are shown" not in page
    many = tuple(replace(part, frames=5) for part in few)
    full = replace(evaluation.scores, by_yaw=many, by_pitch=many)
    page = write_report(tmp_path / "full", replace(evaluation, scores=full), tiny).read_text(encoding="utf-8")
    assert "Error by yaw" in page


def test_a_picture_without_its_estimate_says_so(tmp_path: Path, tiny: TinyDataset) -> None:
    evaluation = _evaluation(tiny)
    moved = evaluation.compared.predicted_mm.copy()
    moved[5] += np.array([1000.0, 0.0, 0.0])
    page = write_report(tmp_path, evaluate_compared("cvar", replace(evaluation.compared, predicted_mm=moved)), tiny)
    assert page.read_text(encoding="utf-8").count("the estimate is outside of this picture") == 2


def test_worst_and_median_frames_exclude_missed_frames(tiny: TinyDataset) -> None:
    worst, median = worst_and_median(_evaluation(tiny).compared)
    assert worst.tolist() == [5, 4, 3, 2, 0]
    assert sorted(median.tolist()) == [0, 2, 3, 4, 5]


def test_the_legend_covers_no_curve() -> None:
    figure, axes = charts.new_figure(7.6, 4.6)
    for number in range(8):
        axes.plot([0, 80], [0, 10 * number], label=f"a model with a long name {number}")
    charts.finish_curves(axes)
    figure.draw_without_rendering()
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert figure.bbox.y1 >= legend.get_window_extent().y1


def test_published_numbers_agree_with_the_spec() -> None:
    nyu = {method.name: method for method in published_methods("nyu")}
    assert nyu["Crossing Nets"].mean_mm == 15.5
    assert nyu["Crossing Nets"].within_percent[30] == 48.4
    assert nyu["DenseReg"].within_percent == {20: 56.4, 30: 78.6, 40: 85.8, 50: 89.3}
    assert {name: published_methods(name)[0].name for name in ("icvl", "msra")} == {"icvl": "LRF", "msra": "Cascade"}
    assert published_methods("cvar") == ()
    fractions = label_fractions("nyu")
    assert fractions is not None
    assert (fractions.mean_mm[2], fractions.mean_mm[100]) == (17.7, 15.5)
    assert label_fractions("icvl") is None
