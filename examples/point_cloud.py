"""Show the point cloud of a depth camera with the skeletons of the hands, in the Rerun viewer.

    pip install rerun-sdk
    python examples/point_cloud.py my-recording               # opens the viewer
    python examples/point_cloud.py my-recording hands.rrd     # writes a file for the viewer instead

Any source of `crossnets live` can stand in place of my-recording, such as realsense or virtual.
"""

import sys

import numpy as np
import rerun as rr

import crossnets


def cloud_mm(depth_mm: np.ndarray, camera: crossnets.Pinhole, farthest_mm: float = 1500.0) -> np.ndarray:
    """Points of a depth image in the camera frame, shape (N, 3), in mm."""
    v, u = np.nonzero((depth_mm > 0) & (depth_mm < farthest_mm))
    z = depth_mm[v, u].astype(np.float32)
    return np.stack([(u - camera.cx_px) / camera.fx_px * z, (v - camera.cy_px) / camera.fy_px * z, z], axis=1)


def main(source: str, file: str | None = None) -> None:
    """Log every frame of a source to the viewer, or to a file."""
    tracker = crossnets.load()
    with crossnets.open(source) as camera:
        rr.init("crossnets", spawn=file is None)
        if file is not None:
            rr.save(file)
        rr.log("scene", rr.ViewCoordinates.RDF, static=True)  # x right, y down, z forward
        for number, frame in enumerate(camera):
            rr.set_time("frame", sequence=number)
            rr.log("scene/depth", rr.Points3D(cloud_mm(frame.depth_mm, frame.camera), radii=0.7))
            hands = tracker.track(frame)
            joints = [joint for hand in hands for joint in hand.joints_mm]
            bones = [hand.joints_mm[list(ends)] for hand in hands for ends in hand.skeleton.bones]
            rr.log("scene/hands/joints", rr.Points3D(joints, radii=4))
            rr.log("scene/hands/bones", rr.LineStrips3D(bones, radii=2))


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    main(*sys.argv[1:3])
