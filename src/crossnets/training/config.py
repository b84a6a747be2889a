"""Everything that decides how a training goes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float32

from crossnets.geometry.skeleton import SavedSkeleton
from crossnets.inference.torch_models import Detector, DetectorConfig, Estimator, EstimatorConfig
from crossnets.models.dense_crossing import DenseCrossingConfig
from crossnets.models.detector import DetectorNet, DetectorNetConfig
from crossnets.models.networks import Networks
from crossnets.models.own import OwnNetworksConfig
from crossnets.models.paper import CrossingNetsConfig
from crossnets.synth.scenes import SceneConfig
from crossnets.synth.stream import SyntheticConfig
from crossnets.training.augment import RealConfig
from crossnets.training.crops import CropConfig
from crossnets.training.damage import CropDamage, SceneDamage

StageName: TypeAlias = Literal[
    "pose_vae", "depth_gan", "warm_up", "joint", "regression", "estimate", "draw", "detect", "own"
]
Precision: TypeAlias = Literal["auto", "bf16-mixed", "32-true"]


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of spec 4."""

    name: StageName
    batch: int
    lr: float
    epochs: int
    """Rounds over all frames, labelled or not."""
    schedule: Literal["decay", "cosine"] = "decay"
    """`cosine`: up in the first twentieth of the stage, then down to nothing."""
    decay: float = 1.0
    """Factor on the learning rate every 10,000 updates, applied after each epoch."""
    min_steps: int = 0
    """A small data set, or a small budget, still gives this many updates."""
    log_every: int = 1
    """Steps between two lines of log.jsonl."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Which terms take part. Each False is an ablation."""

    smoothness: bool = True
    """L_smo."""
    adversarial: bool = True
    """L_D and L_G, and with them the GAN's pre-training."""
    unlabelled: bool = True
    """Frames without labels in L_D and in the real mean of L_G."""


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Validation of a training on labelled frames that it does not train on."""

    times: int = 20
    """Validations of each stage that trains what predicts joints, the last of them after its last step."""
    patience: int | None = None
    """Validations without a lower error after which a stage ends. None: it ends after its last step."""

    def every(self, steps: int) -> int:
        """Steps from one validation to the next in a stage of this many steps."""
        return math.ceil(steps / self.times)


@dataclass(frozen=True, kw_only=True)
class RenderedConfig:
    """Procedural hands to train on."""

    sources: tuple[SyntheticConfig, ...]
    """A batch has as many frames of each."""
    kept_frames: int = 8192
    """Rendered once, for the stages that go over the same frames. An epoch of every stage is that long."""
    uses: int = 2
    """Steps that each rendering of the stream serves. Halves of it are mirrored in turn."""
    damage: CropDamage | None = None
    """Damage of the stream's crops, anew in each step. None leaves them as they are rendered."""


@dataclass(frozen=True, kw_only=True)
class ScenesConfig:
    """Rendered frames to train a detector on."""

    sources: tuple[SceneConfig, ...]
    """A batch has as many frames of each."""
    epoch_frames: int = 8192
    """Frames are never kept. This many count as a round."""
    uses: int = 2
    """As in `RenderedConfig`."""
    damage: SceneDamage | None = None
    """Damage of the frames, anew in each step. None leaves them as they are rendered."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings that every training has. Each preset has a type of its own, with the settings that it uses."""

    preset: str
    skeleton: SavedSkeleton
    stages: tuple[StageConfig, ...]
    precision: Precision = "auto"
    seed: int = 42
    checkpoint_s: float = 60.0
    freeze: tuple[str, ...] = ()
    """Parts of the networks, such as `disc.trunk`, that stay as they are."""


@dataclass(frozen=True, kw_only=True)
class FramesConfig(TrainConfig):
    """A training on frames of a data set, all of which are cropped once."""

    networks: CrossingNetsConfig | DenseCrossingConfig | OwnNetworksConfig
    crop: CropConfig
    validation: ValidationConfig | None = None

    def model(self, networks: Networks, maps: Mapping[str, Float32[np.ndarray, "K J"]]) -> Estimator:
        """The estimator with these networks."""
        return Estimator(_estimator(self, passes=1), networks, maps)


@dataclass(frozen=True, kw_only=True)
class PaperConfig(FramesConfig):
    """A training of the preset `paper`: the networks of Crossing Nets and its ablations."""

    networks: CrossingNetsConfig
    terms: Terms = Terms()


@dataclass(frozen=True, kw_only=True)
class DrawingTerms:
    """Parts of the training of a generator that draws bones. Each False is an ablation."""

    unlabelled: bool = True
    """Frames without labels, drawn with the joints that are estimated in them."""
    adversarial: bool = True
    """The discriminator."""


@dataclass(frozen=True, kw_only=True)
class CrossingTerms(DrawingTerms):
    """Parts of the preset `crossing`. Unlabelled frames teach its estimator as well."""

    synthesised: bool = True
    """Generated maps, whose poses are known, for the estimator."""
    augmentation: bool = True
    """Turns, mirrors, and other places and sides of the cube."""
    sampled_poses: bool = True
    """Poses of the procedural hand, without images, beside those of the labels for the pose VAE."""


@dataclass(frozen=True, kw_only=True)
class CrossingConfig(FramesConfig):
    """A training of the preset `crossing`: a shared latent space by today's means."""

    networks: DenseCrossingConfig
    terms: CrossingTerms = CrossingTerms()
    real: RealConfig
    """How crops are changed."""
    passes: int = 2
    """Passes of the model over a frame, see `CropModel.passes`."""

    def model(self, networks: Networks, maps: Mapping[str, Float32[np.ndarray, "K J"]]) -> Estimator:
        """The estimator with these networks."""
        return Estimator(_estimator(self, passes=self.passes), networks, maps)


@dataclass(frozen=True, kw_only=True)
class OwnConfig(FramesConfig):
    """A training of a registered network (`models.own`). Its preset is the name of the network."""

    networks: OwnNetworksConfig


@dataclass(frozen=True, kw_only=True)
class CrossnetsConfig(TrainConfig):
    """A training of the preset `crossnets`: rendered hands, and real frames beside them."""

    networks: DenseCrossingConfig
    crop: CropConfig
    terms: DrawingTerms = DrawingTerms()
    passes: int = 1
    """Passes of the model over a frame, see `CropModel.passes`."""
    rendered: RenderedConfig
    real: RealConfig | None = None
    """Real labelled hands beside the rendered ones."""
    validation: ValidationConfig | None = None

    def model(self, networks: Networks, maps: Mapping[str, Float32[np.ndarray, "K J"]]) -> Estimator:
        """The estimator with these networks."""
        return Estimator(_estimator(self, passes=self.passes), networks, maps)


@dataclass(frozen=True, kw_only=True)
class DetectorTraining(TrainConfig):
    """A training of the preset `detector`: rendered whole frames."""

    networks: DetectorNetConfig
    scenes: ScenesConfig

    def model(self, networks: DetectorNet) -> Detector:
        """The detector with these networks."""
        return Detector(DetectorConfig(preset=self.preset, networks=self.networks), networks)


def terms_of(config: TrainConfig) -> Terms | DrawingTerms:
    """Terms of a training. The detector and registered networks have other losses, and no unlabelled frames."""
    if isinstance(config, PaperConfig | CrossnetsConfig | CrossingConfig):
        return config.terms
    return Terms(smoothness=False, adversarial=False, unlabelled=False)


def _estimator(config: FramesConfig | CrossnetsConfig, *, passes: int) -> EstimatorConfig:
    return EstimatorConfig(
        preset=config.preset,
        skeleton=config.skeleton,
        networks=config.networks,
        cube_mm=config.crop.cube_mm,
        normalisation=config.crop.normalisation,
        centers=config.crop.centers,
        passes=passes,
    )
