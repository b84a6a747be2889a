import re
from pathlib import Path

import numpy as np
import pytest

from crossnets.evaluation.evaluation import Compared, Evaluation, evaluate_compared
from crossnets.evaluation.report import write_report
from crossnets.evaluation.report.examples import worst_and_median
from crossnets.evaluation.report.published import label_fractions, published_methods
from crossnets.geometry.skeleton import CVAR21

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


def test_worst_and_median_frames_exclude_missed_frames(tiny: TinyDataset) -> None:
    worst, median = worst_and_median(_evaluation(tiny).compared)
    assert worst.tolist() == [5, 4, 3, 2, 0]
    assert sorted(median.tolist()) == [0, 2, 3, 4, 5]


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
