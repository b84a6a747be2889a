"""The command `live`."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from crossnets.cameras import DepthSource, open_source
from crossnets.cameras.reconnecting import Retries
from crossnets.cli.arguments import Source
from crossnets.inference.loading import load
from crossnets.inference.tracker import Tracker
from crossnets.viewer.reading import Reading
from crossnets.viewer.server import LiveServer
from crossnets.viewer.state import LiveState

_MOST_KEPT_S = 600.0


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """Options of the command `live`."""

    model: Path | None = None
    """Run or model folder, or an exported file. The model of the package by default."""
    no_model: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the frames alone, without hands."""
    camera: str | None = None
    """Camera of a folder of PNGs: a name such as realsense-d435, or fx,fy,cx,cy in pixels and, after
    them, the mm of one depth count. The coefficients of a lens may follow after a colon."""
    port: int = 8080
    """Port of the page; 0 takes a free one."""
    host: str = "127.0.0.1"
    """Address to listen on. Any but 127.0.0.1 needs the token in the printed link. Whoever has the link sees the camera
    and can record. The connection is not encrypted, so choose another address only in a network that you trust."""
    keep_s: float = 10.0
    """Seconds of frames that are kept in memory to go back to."""
    record_to: Path = Path("recordings")
    """Folder for the recordings that the page's button makes."""
    smooth: bool = True
    """Filter the joints over time (One-Euro)."""
    side: Literal["right", "left", "both"] = "both"
    """The side of all hands, if it is known. both estimates it for each hand."""
    mirrored: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The camera's images are mirrored. Sides are then those of the real hands."""
    threads: int = 1
    """Threads of the processor for the network."""
    seed: int = 0
    """Seed of the virtual hand."""
    retry_s: float = 2.0
    """Pause in seconds before a camera that was unplugged or has stalled is opened again. It is tried without end."""

    def check(self) -> None:
        """Raise a ValueError for options that are out of range or exclude each other."""
        if not 0 < self.keep_s <= _MOST_KEPT_S:
            raise ValueError(f"Found --keep-s {self.keep_s:g}, expected seconds above 0, at most {_MOST_KEPT_S:g}.")
        if self.threads < 1:
            raise ValueError(f"Found --threads {self.threads}, expected 1 or more.")
        if self.model is not None and self.no_model:
            raise ValueError(f"Found --model {self.model} and --no-model; give one of them.")


_DEFAULTS = LiveOptions()


def live(source: Source = "virtual", page: tyro.conf.OmitArgPrefixes[LiveOptions] = _DEFAULTS) -> None:
    """Show a camera in the browser: depth image and point cloud with the hands in them, and the time of each step.

    Example: crossnets live my-recording

    Args:
        source: Source, as for `record`. Recordings start again at their end.
        page: The page, and the model behind it.
    """
    live_command(source, page)


def live_command(source: str, options: LiveOptions, ready: Callable[[str], None] | None = None) -> None:
    """Serve the page until Ctrl-C.

    Args:
        source: Source, as for `open_source`.
        options: Everything else.
        ready: Told the address once the page is there.

    Raises:
        OSError: the camera, the model or the port cannot be opened.
        ModuleNotFoundError: something that these need is not installed.
        ValueError: a source, camera or option that there is not.
    """
    options.check()
    console = Console(stderr=True)
    tracker = _tracker(options) if not options.no_model else None
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
    side = None if options.side == "both" else options.side
    try:
        return load(options.model, threads=options.threads, smooth=options.smooth, side=side, mirrored=options.mirrored)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} Give `crossnets live` a model with --model RUN, or --no-model to see the frames alone."
        ) from error
