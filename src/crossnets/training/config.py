"""Everything that decides how a training goes."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from crossnets.inference.torch_models import DetectorConfig, EstimatorConfig
from crossnets.models.detector import DetectorNetConfig
from crossnets.models.networks import NetworksConfig
from crossnets.synth.scenes import SceneConfig
from crossnets.synth.stream import SyntheticConfig
from crossnets.training.augment import RealConfig
from crossnets.training.crops import CropConfig
from crossnets.training.damage import CropDamage, SceneDamage

StageName: TypeAlias = Literal["pose_vae", "depth_gan", "warm_up", "joint", "regression", "estimate", "detect"]
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
    """Which terms take part; each False is an ablation."""

    smoothness: bool = True
    """L_smo."""
    adversarial: bool = True
    """L_D and L_G, and with them the GAN's pre-training."""
    unlabelled: bool = True
    """Frames without labels in L_D and in the real mean of L_G."""


@dataclass(frozen=True, kw_only=True)
class RenderedConfig:
    """Procedural hands to train on."""

    sources: tuple[SyntheticConfig, ...]
    """A batch has as many frames of each."""
    kept_frames: int = 8192
    """Rendered once, for the stages that go over the same frames; an epoch of every stage is that long."""
    uses: int = 2
    """Steps that each rendering of the stream serves. Halves of it are mirrored in turn."""
    damage: CropDamage | None = None
    """Of the crops of the stream, anew in each step; None leaves them as they are rendered."""


@dataclass(frozen=True, kw_only=True)
class ScenesConfig:
    """Rendered frames to train a detector on."""

    sources: tuple[SceneConfig, ...]
    """A batch has as many frames of each."""
    epoch_frames: int = 8192
    """Frames are never kept; this many count as a round."""
    uses: int = 2
    """As of `RenderedConfig`."""
    damage: SceneDamage | None = None
    """Of the frames, anew in each step; None leaves them as they are rendered."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A whole training."""

    preset: str
    skeleton: str
    networks: NetworksConfig | DetectorNetConfig
    crop: CropConfig
    """A detector's training has none, and ignores it."""
    stages: tuple[StageConfig, ...]
    terms: Terms = Terms()
    precision: Precision = "auto"
    seed: int = 42
    checkpoint_s: float = 60.0
    passes: int = 1
    rendered: RenderedConfig | None = None
    """Hands that are rendered instead of read."""
    real: RealConfig | None = None
    """Real labelled hands beside the rendered ones."""
    scenes: ScenesConfig | None = None
    """Frames that are rendered for a detector."""

    def estimator(self) -> EstimatorConfig:
        """What a model trained so needs at prediction."""
        assert not isinstance(self.networks, DetectorNetConfig)
        return EstimatorConfig(
            preset=self.preset,
            skeleton=self.skeleton,
            networks=self.networks,
            cube_mm=self.crop.cube_mm,
            normalisation=self.crop.normalisation,
            centers=self.crop.centers,
            passes=self.passes,
        )

    def detector(self) -> DetectorConfig:
        """As `estimator`, of a detector."""
        assert isinstance(self.networks, DetectorNetConfig)
        return DetectorConfig(preset=self.preset, networks=self.networks)
