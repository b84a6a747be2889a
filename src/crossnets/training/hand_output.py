"""Train the output of a dense estimator that says whether a crop shows a hand.

A detector that finds hands with lost edges, hands with objects and far hands also takes other things for hands. The
estimator sees each candidate in the full resolution of the camera, and can tell more of them apart. The examples are
the candidates of the detector in rendered frames, with and without hands, half of which are damaged as by real cameras
(`training.damage`). The other layers of the estimator stay as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW

from crossnets.geometry.camera import project
from crossnets.geometry.thinned import stride_of, thinned_camera
from crossnets.inference.detector import HandDetector
from crossnets.inference.estimator import CropEstimator
from crossnets.inference.hands import SCORE_WEIGHT, estimate_hands
from crossnets.inference.torch_models import Estimator
from crossnets.inference.tracker import Image
from crossnets.models.dense import DenseNet
from crossnets.models.dense_crossing import DenseCrossing, DenseCrossingConfig
from crossnets.synth.scenes import PRESENT_MM2, filled, filling_of
from crossnets.synth.stream import KINDS_OF_SENSOR, SceneHand, SyntheticHands
from crossnets.training.damage import Places, SceneDamage, damage_depth
from crossnets.training.presets import detector_scenes
from crossnets.types import Pinhole

CANDIDATE = 0.02
"""Lowest score of the detector's candidates. Many of them are not hands."""
HAND_MM = 80.0
"""A candidate is a hand if the mean of its estimated joints is within this distance of a hand's."""
UNCLEAR_MM = 150.0
"""A candidate nearer than this to a hand, or to a hand that can hardly be seen, is not an example of something else."""
FALSE_SHARE = 0.003
"""The threshold is set so that this share of the frames has a false hand. The training did not use these frames. The
share was chosen with an earlier model of the same kind. By `scripts/detector_scores.py` with another seed, 0.1 to 0.4 %
of 800 frames of each kind then had a false hand."""
_EMPTY = 0.5
_DAMAGED = 0.6
"""Shares of the frames that show no hand, and of those that are damaged."""
_TORN = 0.4
"""Share of the frames without hands in which only scattered patches are visible, as on dark or far surfaces."""
_PATCH_PX = (4, 40)
_SEEN_SHARE = (0.02, 0.3)
"""Least and greatest size of these patches, and share of the image that they cover."""
_CUT = 0.25
_THINNED = 0.15
"""Shares of the frames that are cut to a window, whose border may cut a hand, and that keep few of their pixels."""
_FILLED = 0.12
"""Share of the frames with filled holes. Those that set the threshold have none: filling smears a hand over the image,
and smears that look like hands would set a threshold that refuses many hands in all other images."""
_WINDOW_SHARE = (0.4, 0.8)
"""Sides of such a window over those of the frame."""
_INSIDE = 0.6
"""Least share of the joints inside the image of a hand that can be seen well."""
_DAMAGE = SceneDamage(objects=0.3, mixing=0.1, edges=0.5, edges_px=6, holes=0.2, holes_share=0.12, outliers=0.1)
_CHECKED = 5
"""Every fifth frame sets the threshold and trains nothing."""
_STEPS = 3000
_BATCH = 128
_LR = 1e-3
_WEIGHT_DECAY = 0.01


class Examples(NamedTuple):
    """Candidates of a detector."""

    crops: Float[Tensor, "N 1 S S"]
    """Inputs of the estimator's last pass, as float16."""
    score: Float[Tensor, "N"]
    """Log-odds of the detector's score."""
    hand: Bool[Tensor, "N"]
    """Whether the candidate is a hand. Unclear ones are left out."""
    frame: Int64[Tensor, "N"]
    """Number of the frame."""


@dataclass(frozen=True)
class _Frame:
    """A rendered frame, with the centres in mm of hands that can be seen well, and of others."""

    image: Image
    hands: list[np.ndarray]
    unclear: list[np.ndarray]


def examples(estimator: CropEstimator, detector: HandDetector, frames: int, seed: int) -> Examples:
    """Collect the candidates of rendered frames, one camera after the other.

    Args:
        estimator: Estimates the joints, which decide what a candidate is and where its last crop is cut.
        detector: Finds the candidates.
        frames: Number of frames of all cameras together.
        seed: Seed of the first camera's frames.
    """
    loose = HandDetector(detector.maps, replace(detector.model, threshold=CANDIDATE))
    crops = []
    scores = []
    hand = []
    numbers = []
    for number, frame in enumerate(track(_frames(frames, seed), "looking for candidates", total=frames)):
        found = loose.find(frame.image.depth_mm, frame.image.camera)
        if not found:
            continue
        estimated = estimate_hands(estimator, frame.image, found)
        images = estimator.arrays(estimated.crops)
        middles = estimated.estimates.joints_mm.mean(axis=1)
        for row, (one, middle) in enumerate(zip(found, middles, strict=True)):
            is_hand = _nearest_mm(middle, frame.hands) < HAND_MM
            if not is_hand and _nearest_mm(middle, frame.hands + frame.unclear) < UNCLEAR_MM:
                continue
            crops.append(images[row].astype(np.float16))
            score = min(max(one.score, 1e-6), 1 - 1e-6)
            scores.append(np.log(score / (1 - score)))
            hand.append(is_hand)
            numbers.append(number)
    return Examples(
        torch.from_numpy(np.stack(crops)),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(hand),
        torch.tensor(numbers),
    )


def _nearest_mm(place: np.ndarray, others: Sequence[np.ndarray]) -> float:
    return min((float(np.linalg.norm(place - other)) for other in others), default=np.inf)


def _frames(count: int, seed: int) -> Iterator[_Frame]:
    """Render whole frames, half of them without hands, and damage many of them."""
    each = count // len(KINDS_OF_SENSOR)
    for k, camera in enumerate(KINDS_OF_SENSOR):
        stream = SyntheticHands(detector_scenes(camera, seed + k).hands)
        for index in range(each):
            rng = np.random.default_rng([seed + k, index])
            empty, damaged, torn = rng.random(3) < (_EMPTY, _DAMAGED, _TORN)
            if empty:
                shown = stream.empty_frame(index)
                hands: tuple[SceneHand, ...] = ()
            else:
                scene = stream.scene(index)
                shown = scene.frame
                hands = scene.hands
            pinhole = shown.camera
            assert isinstance(pinhole, Pinhole)
            depth_mm = _torn(shown.depth_mm, rng) if empty and torn else shown.depth_mm
            if damaged:
                depth_mm = _damaged(depth_mm, pinhole, hands, int(rng.integers(2**31)))
            filling_rng = np.random.default_rng([seed + k, index, 1])
            if (k * each + index) % _CHECKED and filling_rng.random() < _FILLED:
                hand_mm = float(hands[0].joints_mm[:, 2].mean()) if hands else None
                depth_mm = filled(depth_mm, filling_of(filling_rng, hand_mm))
            seen = [hand for hand in hands if hand.pixels]
            large = [_area_mm2(hand, pinhole) >= PRESENT_MM2 for hand in seen]
            image = _partial(Image(depth_mm, pinhole), [hand.joints_mm.mean(axis=0) for hand in seen], rng)
            clear = [big and _inside(hand.joints_mm, image) >= _INSIDE for hand, big in zip(seen, large, strict=True)]
            middles = [
                [hand.joints_mm.mean(axis=0) for hand, is_clear in zip(seen, clear, strict=True) if is_clear == group]
                for group in (True, False)
            ]
            yield _Frame(image, *middles)


def _area_mm2(hand: SceneHand, camera: Pinhole) -> float:
    """Visible area of a hand at the depth of its middle."""
    return hand.pixels * float(hand.joints_mm[:, 2].mean()) ** 2 / (camera.fx_px * camera.fy_px)


def _partial(image: Image, middles: Sequence[np.ndarray], rng: np.random.Generator) -> Image:
    """Show a window of some images, with the middle of a hand in it if there is one, and fewer pixels of others."""
    cut, thinned = rng.random(2) < (_CUT, _THINNED)
    depth_mm = image.depth_mm
    camera = image.camera
    assert isinstance(camera, Pinhole)
    if cut:
        sides = np.array(depth_mm.shape[::-1])
        window = np.round(sides * rng.uniform(*_WINDOW_SHARE)).astype(int)
        at = project(middles[0], camera)[:2] if middles else sides * rng.random(2)
        corner = np.clip(np.round(at - window * rng.uniform(0.05, 0.95, 2)), 0, sides - window).astype(int)
        left, top = corner.tolist()
        width, height = window.tolist()
        depth_mm = depth_mm[top : top + height, left : left + width]
        camera = camera._replace(cx_px=camera.cx_px - left, cy_px=camera.cy_px - top)
    if thinned:
        stride = stride_of(camera)
        depth_mm = depth_mm[stride // 2 :: stride, stride // 2 :: stride]
        camera = thinned_camera(camera, stride)
    return Image(np.ascontiguousarray(depth_mm), camera)


def _inside(joints_mm: Float[np.ndarray, "J 3"], image: Image) -> float:
    """Share of the joints whose pixels are in the image."""
    height, width = image.depth_mm.shape
    places = project(joints_mm, image.camera)[:, :2]
    return float(((places >= 0) & (places < (width, height))).all(axis=1).mean())


def _torn(depth_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Keep scattered patches of an image, where a smooth random field is highest."""
    height, width = depth_mm.shape
    cell = float(np.exp(rng.uniform(*np.log(_PATCH_PX))))
    coarse = rng.random((int(height / cell) + 2, int(width / cell) + 2), np.float32)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.where(field > np.quantile(field, 1 - rng.uniform(*_SEEN_SHARE)), depth_mm, 0)


def _damaged(depth_mm: np.ndarray, camera: Pinhole, hands: Sequence[SceneHand], seed: int) -> np.ndarray:
    middle = hands[0].joints_mm.mean(axis=0) if hands else np.array([0.0, 0.0, 500.0])
    places = Places(
        torch.from_numpy(project(middle, camera)).float()[None],
        torch.tensor([bool(hands)]),
        torch.tensor([float(np.sqrt(camera.fx_px * camera.fy_px))]),
    )
    depth = torch.from_numpy(depth_mm.astype(np.float32))[None, None]
    damaged = damage_depth(depth, places, _DAMAGE, seed)[0, 0].numpy()
    return np.maximum(np.round(damaged), 0).astype(depth_mm.dtype)


def with_hand_output(estimator: Estimator, shown: Examples, seed: int) -> Estimator:
    """Return the estimator with a new output for hands, trained on these examples.

    Every fifth frame sets the bias: candidates are then hands at the least threshold at which `FALSE_SHARE` of these
    frames have a false hand.

    Args:
        estimator: An estimator of the presets `crossnets` or `crossing`, with or without such an output.
        shown: Candidates of the detector that it will be used with.
        seed: Seed of the first weights and of the order of the examples.

    Raises:
        ValueError: the estimator has no dense network, or there are no examples of one kind.
    """
    networks = estimator.networks
    config = estimator.config.networks
    if not isinstance(networks, DenseCrossing) or not isinstance(config, DenseCrossingConfig):
        raise ValueError(
            f"A model of the preset {estimator.config.preset} cannot have an output for hands, which needs a dense "
            "estimator. Give a model of the preset crossnets or crossing."
        )
    checked = shown.frame % _CHECKED == 0
    for name, rows in (("training", ~checked), ("threshold", checked)):
        if shown.hand[rows].all() or not shown.hand[rows].any():
            raise ValueError(
                f"Of the {int(rows.sum())} candidates for the {name} all or none are hands; expected both. Take more "
                "frames."
            )
    dense = _with_new_output(networks.dense, seed)
    maps = _coarse_maps(dense, shown.crops)
    _train(dense, maps, shown, ~checked, seed)
    _set_bias(dense, maps, shown, checked)
    networks.dense = dense
    networks.config = replace(config, dense=dense.config)
    return Estimator(replace(estimator.config, networks=networks.config), networks, estimator.maps)


def _with_new_output(dense: DenseNet, seed: int) -> DenseNet:
    new = DenseNet(replace(dense.config, hand=True), torch.Generator().manual_seed(seed))
    own = {name: value for name, value in new.state_dict().items() if name.startswith("hand.")}
    new.load_state_dict({**dense.state_dict(), **own})
    return new.eval()


@torch.inference_mode()
def _coarse_maps(dense: DenseNet, crops: Float[Tensor, "N 1 S S"]) -> Float[Tensor, "N C 8 8"]:
    parts = track(crops.split(_BATCH), "computing maps")
    return torch.cat([dense.coarse(part.float()).half() for part in parts]).clone()


def _train(
    dense: DenseNet, maps: Float[Tensor, "N C 8 8"], shown: Examples, rows: Bool[Tensor, "N"], seed: int
) -> None:
    """Train the output so that it and the detector's score together are the log-odds of a hand."""
    assert dense.hand is not None
    generator = torch.Generator().manual_seed(seed)
    numbers = rows.nonzero()[:, 0]
    optimiser = AdamW(dense.hand.parameters(), _LR, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
    dense.hand.train()
    torch.manual_seed(seed)  # dropout has no generator of its own
    for _ in track(range(_STEPS), "training the output for hands"):
        drawn = numbers[torch.randint(len(numbers), (_BATCH,), generator=generator)]
        odds = dense.hand(maps[drawn].float())[:, 0] + SCORE_WEIGHT * shown.score[drawn]
        loss = F.binary_cross_entropy_with_logits(odds, shown.hand[drawn].float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    dense.hand.eval()


@torch.no_grad()
def _set_bias(dense: DenseNet, maps: Float[Tensor, "N C 8 8"], shown: Examples, rows: Bool[Tensor, "N"]) -> None:
    """Move the output so that odds above 0 are false in `FALSE_SHARE` of the frames."""
    assert dense.hand is not None
    odds = dense.hand(maps[rows].float())[:, 0] + SCORE_WEIGHT * shown.score[rows]
    frames = int(shown.frame.max()) // _CHECKED + 1
    worst = torch.full((frames,), -torch.inf)
    false = ~shown.hand[rows]
    worst.scatter_reduce_(0, shown.frame[rows][false] // _CHECKED, odds[false], "amax")
    allowed = int(FALSE_SHARE * frames)
    last = dense.hand[-1]
    assert isinstance(last, torch.nn.Linear)
    last.bias.sub_(worst.sort(descending=True).values[allowed])
