"""Follow the hands before a camera and print where the index fingertips are.

python examples/camera_loop.py                  # a RealSense: pip install '.[realsense]'
python examples/camera_loop.py virtual          # a rendered hand: pip install '.[render]'
python examples/camera_loop.py my-recording     # a recording of `crossnets record`
"""

import contextlib
import itertools
import sys

import crossnets


def main(source: str = "realsense", frames: int | None = None) -> None:
    """Print one line for each hand of each frame. Ctrl-C ends the loop."""
    tracker = crossnets.load()
    with crossnets.open(source) as camera:
        for frame in itertools.islice(camera, frames):
            for hand in tracker.track(frame):
                x, y, z = hand["index_tip"]
                confidence = hand.confidence
                sure = "" if confidence is None else f", {confidence[hand.skeleton.joints.index('index_tip')]:.0%} sure"
                print(f"hand {hand.track} ({hand.side}): index tip at {x:.0f}, {y:.0f}, {z:.0f} mm{sure}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1] if len(sys.argv) > 1 else "realsense", int(sys.argv[2]) if len(sys.argv) > 2 else None)
