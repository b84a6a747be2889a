"""Report of an evaluation as one HTML page. Needs matplotlib, which the `report` extra installs."""

from pathlib import Path

from crossnets.atomic import write_text
from crossnets.datasets.dataset import HandDataset
from crossnets.evaluation.evaluation import Evaluation

try:
    import matplotlib as mpl
except ModuleNotFoundError as error:
    text = "A report needs matplotlib: pip install 'crossnets[report]', or leave --report out."
    raise ModuleNotFoundError(text, name="matplotlib") from error

from crossnets.evaluation.report.examples import pictures, worst_and_median
from crossnets.evaluation.report.page import page

__all__ = ["mpl", "write_report"]


def write_report(folder: Path, evaluation: Evaluation, dataset: HandDataset | None = None) -> Path:
    """Write `folder/index.html`, whole or not at all. An existing page is replaced.

    Args:
        folder: Folder of the page. It is created if missing.
        evaluation: Evaluation to show.
        dataset: Images for the worst and the median frames. Without a data set the page shows no frames.

    Returns:
        Path of the page.
    """
    worst = []
    median = []
    if dataset is not None and evaluation.compared.indices is not None:
        rows = worst_and_median(evaluation.compared)
        worst, median = (pictures(evaluation.compared, dataset, group.tolist()) for group in rows)
    path = folder / "index.html"
    write_text(path, page(evaluation, worst, median))
    return path
