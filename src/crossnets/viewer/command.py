"""The command `live`."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from crossnets.runtime.loading import load
from crossnets.runtime.sources import DepthSource, open_source
from crossnets.runtime.sources.retrying import Retries
from crossnets.runtime.track import Tracker
from crossnets.viewer.reading import Reading
from crossnets.viewer.server import LiveServer
from crossnets.viewer.state import LiveState

_MOST_KEPT_S = 600.0


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """As the command line names them."""

    model: Path | None = None
    """None: the model of the package."""
    estimate: bool = True
    """Whether hands are looked for at all."""
    camera: str | None = None
    port: int = 8080
    host: str = "127.0.0.1"
    keep_s: float = 10.0
    record_to: Path = Path("recordings")
    smooth: bool = True
    threads: int = 1
    seed: int = 0
    retry_s: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.keep_s <= _MOST_KEPT_S:
            raise ValueError(f"Found --keep-s {self.keep_s:g}, expected seconds above 0, at most {_MOST_KEPT_S:g}.")
        if self.threads < 1:
            raise ValueError(f"Found --threads {self.threads}, expected 1 or more.")
        if self.model is not None and not self.estimate:
            raise ValueError(f"Found --model {self.model} and --no-model; give one of them.")


def live_command(source: str, options: LiveOptions, ready: Callable[[str], None] | None = None) -> None:
    """Serve the page until Ctrl-C.

    Args:
        source: As of `open_source`.
        options: Everything else.
        ready: Told the address once the page is there.

    Raises:
        OSError: the camera, the model or the port cannot be opened.
        ModuleNotFoundError: something that these need is not installed.
        ValueError: a source, camera or option that there is not.
    """
    console = Console(stderr=True)
    tracker = _tracker(options) if options.estimate else None
    named = (
        None if tracker is None else (tracker.estimator.model.preset if options.model is None else str(options.model))
    )
    state = LiveState(source, named, options.keep_s)

    def tell(message: str) -> None:
        console.print(message, markup=False, highlight=False, soft_wrap=True)
        state.update(message=message)

    retries = Retries(retry_s=options.retry_s, tries=None)
    first = open_source(source, options.camera, seed=options.seed, retries=retries, tell=tell)

    def again() -> DepthSource:  # what is broken in it was told the first time
        return open_source(source, options.camera, seed=options.seed, retries=retries, tell=lambda _: None)

    with LiveServer(state, options.host, options.port) as server, first:
        reading = Reading(first, again, tracker, state, options.record_to)
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        serving.start()
        reading.start()
        console.print(f"{server.url}  shows {source}. Ctrl-C ends.", markup=False, highlight=False, soft_wrap=True)
        try:
            if ready is not None:
                ready(server.url)
            while serving.is_alive():
                serving.join(0.5)
        except KeyboardInterrupt:
            pass
        finally:
            reading.close()
            server.shutdown()
    if state.status.saved:
        console.print(f"Last recording: {state.status.saved}", markup=False, highlight=False, soft_wrap=True)


def _tracker(options: LiveOptions) -> Tracker:
    """The model.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ValueError: as `load`.
    """
    try:
        return load(options.model, threads=options.threads, smooth=options.smooth)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} Give `crossnets live` a model with --model RUN, or --no-model to see the frames alone."
        ) from error
