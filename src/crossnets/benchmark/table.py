"""Tables of a latency benchmark on the console."""

from rich.console import Console
from rich.table import Table

from crossnets.benchmark.engines import TITLES, Engine
from crossnets.benchmark.processes import PREDICTIONS
from crossnets.benchmark.report import Alone, Report, weights_notes
from crossnets.benchmark.roofline import SIDE

_DIM = "dim"


def print_report(report: Report, console: Console) -> None:
    """Print all tables."""
    machine = report.machine
    console.print(f"{machine.processor}, {machine.cores} cores, one thread, {machine.system}", highlight=False)
    versions = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    console.print(f"Python {machine.python}, {versions}", style=_DIM, highlight=False)
    console.print(_networks(report))
    console.print(
        "The time is the median of all calls. The percentage is the share of the peak, by processor time. The peak is "
        f"the rate of the same runtime in products of {SIDE}x{SIDE} matrices.",
        style=_DIM,
    )
    console.print(_whole(report))
    for line in _notes(report):
        console.print(line, style=_DIM, highlight=False)
    if report.starts:
        console.print(_starts(report))
        console.print(
            f"Medians over {report.process_runs} new processes. Start is the time from before `import crossnets` to "
            f"the end of the first prediction. Memory is resident memory after {PREDICTIONS} predictions.",
            style=_DIM,
        )
    console.print(_goals(report))


def _table(title: str, *heads: str, texts: int = 1) -> Table:
    """An empty table. The first `texts` columns are for text, the others for numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number < texts else "right", no_wrap=True)
    return table


def _engines(report: Report) -> list[Engine]:
    return list(dict.fromkeys(key.engine for key in report.alone))


def _networks(report: Report) -> Table:
    engines = _engines(report)
    heads = [f"{TITLES[engine]}, ms" for engine in engines]
    table = _table("Networks alone", "network", "input", "parameters", "multiply-adds", *heads)
    peaks = [f"{2e-9 * report.peaks[engine]:,.0f} GFLOPS" for engine in engines]
    table.add_row("peak", "", "", "", *peaks, style="bold", end_section=True)
    for name, network in report.networks.items():
        cells = [_alone(report, Alone(name, engine)) for engine in engines]
        size = "x".join(map(str, network.input))
        table.add_row(name, size, f"{network.cost.parameters:,}", f"{network.cost.macs:,}", *cells)
    return table


def _alone(report: Report, key: Alone) -> str:
    times = report.alone.get(key)
    return "-" if times is None else f"{times.median_ms:.3f} {100 * report.share_of_peak(key):3.0f} %"


def _whole(report: Report) -> Table:
    stages = ("find", "crop", "network", "joints")
    heads = ("preset", "frames", "runtime", "ms", *stages, "frames/s", "processor ms")
    table = _table("Whole frames: raw 640x480 uint16 to joints in mm", *heads, texts=3)
    for key, times in report.whole.items():
        cells = [f"{ms:.3f}" for ms in times.stages().values()]
        rate = f"{1e3 / times.median_ms:,.0f}"
        cells += [rate, f"{times.median_cpu_ms:.3f}"]
        table.add_row(key.preset, key.mode, TITLES[key.engine], f"{times.median_ms:.3f}", *cells)
    return table


def _notes(report: Report) -> list[str]:
    share = min(report.found.values(), default=1.0)
    lines = [
        "predict detects hands in each frame. track detects hands in one of 15 frames and follows them in the others. "
        "The time of track is the mean of these 15 frames.",
        weights_notes(report, [*report.presets(), "detector"]) + " Random weights take as long as trained ones. Their "
        "outputs are replaced by the known place of the hand.",
        f"{report.frames} frames and {report.measured.rounds} rounds, all cases in turns. The process used "
        f"{report.measured.cores_used:.2f} cores. The load of the machine before was {report.machine.load}. Processor "
        "time is that of this process alone. On an idle machine it equals the elapsed time.",
    ]
    return lines if share > 0.995 else [*lines, f"A hand was found in {100 * share:.0f} % of the frames or more."]


def _starts(report: Report) -> Table:
    heads = ("import, s", "load, s", "start, s", "processor s", "memory, MB", "at most", "torch")
    table = _table("New processes", "preset", "runtime", *heads, texts=2)
    for key, start in report.starts.items():
        all_s = (start.import_s, start.load_s, start.first_prediction_s, start.first_prediction_cpu_s)
        times = (f"{value:.2f}" for value in all_s)
        sizes = ("-" if value is None else f"{value:.0f}" for value in (start.resident_mb, start.most_resident_mb))
        table.add_row(key.network, TITLES[key.engine], *times, *sizes, "imported" if start.with_torch else "no")
    return table


def _goals(report: Report) -> Table:
    table = _table("Goals", "goal", "measured", "met", texts=3)
    for goal in report.goals():
        table.add_row(goal.name, goal.found, "yes" if goal.met else "[red]no[/red]")
    return table
