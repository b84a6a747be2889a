"""Measure how well the rendered hand fits real poses, and how far real poses are from sampled ones.

    OMP_NUM_THREADS=1 python scripts/hand_coverage.py \
        --nyu ../shared/data/nyu/nyu_test_uvd_36.npz \
        --icvl ../shared/data/published/icvl/icvl_test_groundtruth_label.txt --out coverage.json

Fit: `fit_hand.fit` fits the hand with bones of each frame, and then with one shape for each sequence. The shape is
fitted to SHAPE_FRAMES frames of the sequence and then frozen. The result is the distance to each joint in mm of the
real hand.

Coverage: every pose is moved, turned and scaled to the mean hand. Position and rotation are those of the palm's joints
(Kabsch). ICVL labels only one of these, so the first joints of the four fingers are added. The scale is the sum of the
bones. The distance of two poses is the mean over all joints, and the nearest sample is found exactly. "Labels" compares
labelled joints with samples of all kinds of hands, so it includes differences in proportions and in the places of
joints. "Angles" compares the angles that were fitted with one shape with the sampled angles, both on the mean hand.

The frames are test frames. The numbers describe the hand, and no constant of it is chosen by them.
"""

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from fit_hand import ANGLE_PART, FitConfig, Problem, fit, solve
from numba import njit
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from crossnets.atomic import write_text
from crossnets.evaluation.protocols import PROTOCOLS, Protocol
from crossnets.geometry.camera import unproject
from crossnets.geometry.skeleton import FINGERS, Skeleton
from crossnets.synth.hand.anthropometry import mean_shape, sample_shape
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import FLEXION, PIP, HandPose, forward
from crossnets.synth.hand.sampler import sample_angles

SHAPE_FRAMES = 32
"""Number of evenly spaced frames to which the shape is fitted."""
_SHAPE = slice(0, ANGLE_PART.start)
_STEPS = 20
_PALMS = {
    "nyu36": [30, 31, 32, 33, 34, 35, 5, 11, 17, 23],
    "icvl16": [0, 4, 7, 10, 13],
}
"""Joints that align a pose: NYU's palm and knuckles, and ICVL's palm and the middles of the four first bones."""
_FAR = 0.9
"""Poses beyond this quantile of the distance are far."""


class FrozenShape(Problem):
    """A fit of the pose of a hand with a known shape."""

    def __init__(self, skeleton: Skeleton, side: float, shape: torch.Tensor) -> None:
        super().__init__(skeleton, side, FitConfig())
        self._shape = shape

    def hand(self, params: torch.Tensor, base: torch.Tensor) -> tuple:
        """Build the hand with the known shape instead of that of the parameters."""
        shape = self._shape.expand(*params.shape[:-1], -1)
        return super().hand(torch.cat([shape, params[..., _SHAPE.stop :]], dim=-1), base)


def shared_shape(target: torch.Tensor, skeleton: Skeleton, side: float) -> torch.Tensor:
    """Fit one shape and a pose for each frame together, by Levenberg-Marquardt over all unknowns."""
    frames = len(target)
    shape = _SHAPE.stop
    spread = np.sqrt(frames)  # the prior on shapes must count once, not once per frame
    plain = FitConfig()
    config = replace(
        plain,
        bone_spread=plain.bone_spread * spread,
        size_spread=plain.size_spread * spread,
        breadth_spread=plain.breadth_spread * spread,
    )
    problem = Problem(skeleton, side, config)
    params, base = solve(problem, target)
    params[:, :shape] = params[:, :shape].mean(0)
    jacobian = torch.func.vmap(torch.func.jacfwd(problem.residuals))
    poses = params.shape[1] - shape
    damping = 1e-2
    cost = problem.residuals(params, base, target).square().sum()
    for _ in range(_STEPS):
        r, j = problem.residuals(params, base, target), jacobian(params, base, target)
        whole = j.new_zeros(frames, j.shape[1], shape + frames * poses)
        whole[:, :, :shape] = j[:, :, :shape]
        for f in range(frames):
            start = shape + f * poses
            whole[f, :, start : start + poses] = j[f, :, shape:]
        whole = whole.flatten(0, 1)
        normal = whole.T @ whole
        damped = normal + torch.diag(damping * normal.diagonal() + 1e-9)
        step = torch.linalg.solve(damped, whole.T @ r.flatten())
        tried = params - torch.cat([step[:shape].expand(frames, -1), step[shape:].view(frames, poses)], dim=1)
        tried_cost = problem.residuals(tried, base, target).square().sum()
        better = bool(tried_cost < cost)
        params, cost = (tried, tried_cost) if better else (params, cost)
        damping = damping / 4 if better else damping * 8
    return params[0, :shape]


def fit_sequence(
    found_mm: np.ndarray, skeleton: Skeleton, batch: int, progress: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return residuals with free bones and with one shape (F, J), angles with one shape (F, 26), and the side."""
    target = torch.as_tensor(found_mm)
    chosen = target[np.unique(np.linspace(0, len(target) - 1, SHAPE_FRAMES).astype(int))]
    side = min((1.0, -1.0), key=lambda s: float(fit(chosen, skeleton, s).residual_mm.mean()))
    frozen = FrozenShape(skeleton, side, shared_shape(chosen, skeleton, side))
    task = progress.add_task(f"fit {skeleton.name}", total=len(target))
    own = []
    one = []
    angles = []
    for part in target.split(batch):
        own.append(fit(part, skeleton, side).residual_mm.numpy())
        shape, pose = frozen.hand(*solve(frozen, part))
        one.append((joints(forward(shape, pose), skeleton) - part).norm(dim=-1).numpy())
        angles.append(pose.angles_rad.numpy())
        progress.advance(task, len(part))
    return np.concatenate(own), np.concatenate(one), np.concatenate(angles), side


def summary(values: np.ndarray) -> dict[str, float]:
    """Return median, mean and 95th percentile."""
    return {"median": float(np.median(values)), "mean": float(values.mean()), "p95": float(np.percentile(values, 95))}


def residuals(found_mm: np.ndarray, skeleton: Skeleton) -> dict:
    """Summarise residuals (F, J)."""
    medians = np.median(found_mm, axis=0)
    return summary(found_mm) | {"joints": dict(zip(skeleton.joints, map(float, medians), strict=True))}


def hands(angles: np.ndarray, skeleton: Skeleton, shape: object = None) -> np.ndarray:
    """(N, J, 3): joints of right hands with these angles at the origin. The shape is the mean one by default."""
    n = len(angles)
    pose = HandPose(np.broadcast_to(np.eye(3), (n, 3, 3)), np.zeros((n, 3)), angles)
    return joints(forward(shape or mean_shape(n), pose), skeleton)


def align(found_mm: np.ndarray, skeleton: Skeleton, side: float = 1.0) -> np.ndarray:
    """Convert poses to right hands, and move, turn and scale them to the mean hand."""
    points = found_mm * np.array([side, 1, 1])
    model = hands(np.deg2rad(np.full((1, 26), 15.0)) * np.isin(np.arange(26), [*FLEXION, *PIP]), skeleton)
    parents, children = np.array(skeleton.bones).T
    lengths = [np.linalg.norm(p[:, children] - p[:, parents], axis=-1).sum(axis=1) for p in (model, points)]
    palm = _PALMS[skeleton.name]
    points = (points - points[:, palm].mean(axis=1, keepdims=True)) * (lengths[0] / lengths[1])[:, None, None]
    goal = model[0, palm] - model[0, palm].mean(axis=0)
    u, _, vt = np.linalg.svd(points[:, palm].transpose(0, 2, 1) @ goal)
    u[:, :, 2] *= np.linalg.det(u @ vt)[:, None]
    return points @ (u @ vt)


@njit(fastmath=True, cache=False)
def nearest(poses: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return index and mean joint distance of the nearest sample of each pose. Inputs are (N, 3, J) in float32."""
    index, distance = np.zeros(len(poses), np.int64), np.full(len(poses), np.inf, np.float32)
    for p in range(len(poses)):
        x, y, z = poses[p]
        for s in range(len(samples)):
            total = np.float32(0)
            for k in range(len(x)):
                dx, dy, dz = x[k] - samples[s, 0, k], y[k] - samples[s, 1, k], z[k] - samples[s, 2, k]
                total += np.sqrt(dx * dx + dy * dy + dz * dz)
            if total < distance[p]:
                index[p], distance[p] = s, total
    return index, distance / np.float32(poses.shape[2])


def fingers_of(angles: np.ndarray) -> list[str]:
    """Describe each pose by a word with a sign for index to little finger: | straight, / bent, . curled."""
    bend = np.rad2deg(angles[:, FLEXION] + angles[:, PIP])
    letters = np.array(list("|/."))[np.digitize(bend, [50, 120])]
    return ["".join(row) for row in letters]


def far_poses(distance: np.ndarray, apart: np.ndarray, skeleton: Skeleton, words: list[str]) -> dict:
    """Describe the far poses: the mean distance of each digit's joints, and the most frequent words."""
    far = distance > np.quantile(distance, _FAR)
    names = np.array([name.split("_")[0] for name in skeleton.joints])
    digits = {d: [float(apart[rows][:, names == d].mean()) for rows in (far, ~far)] for d in FINGERS}
    everywhere = Counter(words)
    here = Counter(w for w, f in zip(words, far, strict=True) if f)
    common = {w: [n / far.sum(), everywhere[w] / len(words)] for w, n in here.most_common(6)}
    return {
        "digits_far_and_near_mm": digits,
        "fingers_far_and_all": {w: [float(v) for v in x] for w, x in common.items()},
    }


def cover(real_mm: np.ndarray, sampled_mm: np.ndarray, skeleton: Skeleton, words: list[str], task: tuple) -> dict:
    """Measure the distance of aligned poses (F, J, 3) from the nearest aligned samples (N, J, 3)."""
    poses, samples = (np.ascontiguousarray(p.transpose(0, 2, 1), np.float32) for p in (real_mm, sampled_mm))
    progress, name = task
    bar = progress.add_task(name, total=len(poses))
    parts = []
    for start in range(0, len(poses), 256):
        parts.append(nearest(poses[start : start + 256], samples))
        progress.advance(bar, len(parts[-1][0]))
    index, distance = (np.concatenate(part) for part in zip(*parts, strict=True))
    apart = np.linalg.norm(real_mm - sampled_mm[index], axis=-1)
    shares = {f"above_{mm}_mm": float((distance > mm).mean()) for mm in (10, 15, 20)}
    percentiles = {f"p{q}": float(np.percentile(distance, q)) for q in (50, 90, 99)}
    return percentiles | shares | far_poses(distance, apart, skeleton, words)


def measure(protocol: Protocol, found_mm: np.ndarray, options: argparse.Namespace, progress: Progress) -> dict:
    """Measure fit and coverage of one data set."""
    skeleton = protocol.skeleton
    report = {"fit": {}}
    aligned = []
    angles = []
    rows = {"own": [], "one": []}
    sequence = np.array(protocol.sequences(len(found_mm)))
    for name in dict.fromkeys(sequence):
        part = found_mm[sequence == name][: options.first][:: options.every]
        if len(part):
            own, one, bent, side = fit_sequence(part, skeleton, options.batch, progress)
            rows["own"].append(own), rows["one"].append(one), angles.append(bent)
            aligned.append(align(part, skeleton, side))
            report["fit"][name] = {"own bones": summary(own), "one shape": summary(one), "side": side}
    for key, name in (("own", "own bones"), ("one", "one shape")):
        report["fit"][name] = residuals(np.concatenate(rows[key]), skeleton)
    rng = np.random.default_rng(options.seed)
    shape = replace(sample_shape(rng, options.samples), side=np.ones(options.samples))
    sampled = sample_angles(rng, shape)
    real = np.concatenate(angles)
    words = fingers_of(real)
    sampled_mm = align(hands(sampled, skeleton, shape), skeleton)
    real_mm = np.concatenate(aligned)
    report["labels"] = cover(real_mm, sampled_mm, skeleton, words, (progress, f"labels {skeleton.name}"))
    pair = (hands(a, skeleton) for a in (real, sampled))
    report["angles"] = cover(*pair, skeleton, words, (progress, f"angles {skeleton.name}"))
    return report | {"frames": len(real), "samples": options.samples}


def tables(name: str, report: dict) -> list[Table]:
    """Convert the report to tables."""
    fit = Table("fit, mm", "median", "mean", "95th", title=f"{name}, {report['frames']} frames")
    for kind in ("own bones", "one shape"):
        for part, entry in report["fit"].items():
            values = entry if part == kind else entry.get(kind)
            if values:
                fit.add_row(
                    kind if part == kind else f"{kind}, {part}",
                    *(f"{values[k]:.2f}" for k in ("median", "mean", "p95")),
                )
    each = Table("joint", "own bones", "one shape")
    for joint, value in report["fit"]["own bones"]["joints"].items():
        each.add_row(joint, f"{value:.1f}", f"{report['fit']['one shape']['joints'][joint]:.1f}")
    near = Table("nearest sample, mm", "median", "90th", "99th", "> 10", "> 15", "> 20")
    for kind in ("labels", "angles"):
        entry = report[kind]
        shares = (f"{100 * entry[f'above_{mm}_mm']:.1f} %" for mm in (10, 15, 20))
        near.add_row(kind, *(f"{entry[q]:.1f}" for q in ("p50", "p90", "p99")), *shares)
    far = Table("furthest tenth", *FINGERS, "index to little finger (| straight, / bent, . curled): share here, of all")
    for kind in ("labels", "angles"):
        digits = (f"{a:.0f} ({b:.0f})" for a, b in report[kind]["digits_far_and_near_mm"].values())
        words = report[kind]["fingers_far_and_all"].items()
        far.add_row(kind, *digits, "  ".join(f"{w} {100 * a:.0f}, {100 * b:.0f} %" for w, (a, b) in words))
    return [fit, each, near, far]


def main() -> None:
    """Read the poses, measure, and print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nyu", type=Path, help="npz with `uvd` (F, 36, 3) in px, px, mm")
    parser.add_argument("--icvl", type=Path, help="text with 48 numbers per line in px, px, mm")
    parser.add_argument("--first", type=int, help="number of frames of each sequence")
    parser.add_argument("--every", type=int, default=1, help="step between these frames")
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=128, help="number of frames that are fitted together")
    parser.add_argument("--out", type=Path, help="file for the report as JSON")
    options = parser.parse_args()
    if not (options.nyu or options.icvl):
        parser.error("give --nyu, --icvl or both")
    torch.set_num_threads(1)
    given = {}
    if options.nyu:
        given["nyu"] = np.load(options.nyu)["uvd"].astype(float)
    if options.icvl:
        given["icvl"] = np.loadtxt(options.icvl).reshape(-1, 16, 3)
    report = {}
    console = Console()
    with Progress(*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn()) as progress:
        for name, uvd in given.items():
            protocol = PROTOCOLS[name]
            found_mm = unproject(uvd, protocol.camera)
            report[name] = measure(protocol, found_mm, options, progress)
    for name, entry in report.items():
        console.print(*tables(name, entry))
    if options.out:
        write_text(options.out, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
