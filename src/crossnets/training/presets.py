"""Named trainings: one function a preset, returning a whole TrainConfig."""

from typing import Any

from crossnets.geometry.crop import CUBE_MM, Normalisation
from crossnets.geometry.localise import Centers
from crossnets.geometry.skeleton import MSRA21, Skeleton
from crossnets.models.dense import DenseConfig
from crossnets.models.dense_crossing import DenseCrossingConfig
from crossnets.models.depth_gan import MetricKind
from crossnets.models.detector import DetectorNetConfig
from crossnets.models.own import OwnNetworksConfig
from crossnets.models.paper import CrossingNetsConfig
from crossnets.models.pose_vae import PoseVAEConfig
from crossnets.synth.hand.sampler import Views
from crossnets.synth.scenes import SceneConfig
from crossnets.synth.stream import KINDS_OF_SENSOR, SyntheticConfig
from crossnets.synth.surroundings.clutter import Clutter
from crossnets.training.augment import RealConfig
from crossnets.training.config import (
    CrossingConfig,
    CrossingTerms,
    CrossnetsConfig,
    DetectorTraining,
    DrawingTerms,
    OwnConfig,
    PaperConfig,
    Precision,
    RenderedConfig,
    ScenesConfig,
    StageConfig,
    Terms,
)
from crossnets.training.crops import CropConfig
from crossnets.training.damage import CropDamage, SceneDamage

PAPER_STAGES = (
    StageConfig(name="pose_vae", batch=200, lr=3e-4, epochs=201, decay=0.95, min_steps=20_000, log_every=20),
    StageConfig(name="depth_gan", batch=100, lr=3e-4, epochs=1001),
    StageConfig(name="warm_up", batch=200, lr=1e-2, epochs=21),
    StageConfig(name="joint", batch=200, lr=1e-3, epochs=80),
)
"""Spec 4. Only `min_steps` is ours: 201 rounds over few poses would leave the VAE untrained, and more cost nothing."""

REGRESSION_STAGES = (StageConfig(name="regression", batch=200, lr=1e-3, epochs=1102),)
"""The baseline sees each frame as often as the stages that train on images do together."""


def paper_networks(
    num_joints: int, metric: MetricKind = "separate", *, shared_latent: bool = True
) -> CrossingNetsConfig:
    """The networks of spec 2."""
    # A pose of few joints has fewer numbers than the latent of the spec.
    pose_vae = PoseVAEConfig(num_joints=num_joints, latent_dim=min(PoseVAEConfig.latent_dim, 3 * num_joints))
    return CrossingNetsConfig(pose_vae=pose_vae, metric=metric, shared_latent=shared_latent)


def paper(
    skeleton: Skeleton,
    *,
    normalisation: Normalisation = "per-frame",
    centers: Centers = "image",
    metric: MetricKind = "separate",
    terms: Terms = Terms(),  # noqa: B008 (frozen)
    shared_latent: bool = True,
    cube_mm: float = CUBE_MM,
    precision: Precision = "auto",
    seed: int = 42,
    checkpoint_s: float = 60.0,
) -> PaperConfig:
    """Crossing Nets as published (spec 2 to 4), and its ablations."""
    stages = _stages(PAPER_STAGES if shared_latent else REGRESSION_STAGES, terms)
    return PaperConfig(
        preset="paper",
        skeleton=skeleton.saved(),
        networks=paper_networks(len(skeleton), metric, shared_latent=shared_latent),
        crop=CropConfig(cube_mm=cube_mm, normalisation=normalisation, centers=centers),
        stages=stages,
        terms=terms,
        precision=precision,
        seed=seed,
        checkpoint_s=checkpoint_s,
    )


def _stages(whole: tuple[StageConfig, ...], terms: Terms) -> tuple[StageConfig, ...]:
    """Stages that remain with these terms."""
    return tuple(stage for stage in whole if terms.adversarial or stage.name != "depth_gan")


CROSSING_STAGES = (
    StageConfig(name="pose_vae", batch=200, lr=1e-3, epochs=40, min_steps=10_000, log_every=20),
    StageConfig(name="warm_up", batch=32, lr=3e-3, epochs=8),
    StageConfig(name="joint", batch=32, lr=3e-3, epochs=80, schedule="cosine"),
)
"""A batch has half as many unlabelled frames and generated maps as labelled crops."""


def dense_crossing_networks(skeleton: Skeleton, *, teacher: bool) -> DenseCrossingConfig:
    """A dense estimator, and a latent space whose generator draws the bones of a skeleton."""
    joints = len(skeleton)
    return DenseCrossingConfig(
        dense=DenseConfig(num_joints=joints),
        pose_vae=PoseVAEConfig(num_joints=joints, hidden_dim=256, latent_dim=min(32, 3 * joints)),
        bones=skeleton.bones,
        reference=skeleton.reference,
        teacher=teacher,
    )


def crossing(
    skeleton: Skeleton,
    *,
    terms: CrossingTerms = CrossingTerms(),  # noqa: B008 (frozen)
    centers: Centers = "image",
    precision: Precision = "auto",
    seed: int = 42,
    checkpoint_s: float = 60.0,
) -> CrossingConfig:
    """The roles of Crossing Nets around one latent space, by today's means."""
    changes = (
        RealConfig()
        if terms.augmentation
        else RealConfig(roll_deg=0.0, mirrored=0.0, center_spread_mm=0.0, cube_mm=(CUBE_MM, CUBE_MM))
    )
    return CrossingConfig(
        preset="crossing",
        skeleton=skeleton.saved(),
        networks=dense_crossing_networks(skeleton, teacher=True),
        crop=CropConfig(cube_mm=CUBE_MM, normalisation="metric", centers=centers),
        stages=CROSSING_STAGES,
        terms=terms,
        real=changes,
        precision=precision,
        seed=seed,
        checkpoint_s=checkpoint_s,
    )


OWN_STAGES = (StageConfig(name="own", batch=64, lr=1e-3, epochs=100, schedule="cosine", log_every=20),)


def own(
    skeleton: Skeleton,
    *,
    name: str,
    settings: Any,
    normalisation: Normalisation = "metric",
    centers: Centers = "image",
    precision: Precision = "auto",
    seed: int = 42,
    checkpoint_s: float = 60.0,
) -> OwnConfig:
    """A registered network, trained on the labelled frames of a data set."""
    return OwnConfig(
        preset=name,
        skeleton=skeleton.name,
        networks=OwnNetworksConfig(own=name, num_joints=len(skeleton), settings=settings),
        crop=CropConfig(cube_mm=CUBE_MM, normalisation=normalisation, centers=centers),
        stages=OWN_STAGES,
        precision=precision,
        seed=seed,
        checkpoint_s=checkpoint_s,
    )


CROSSNETS_STAGES = (
    StageConfig(name="pose_vae", batch=200, lr=1e-3, epochs=400, decay=0.95, min_steps=10_000, log_every=20),
    StageConfig(name="estimate", batch=128, lr=3e-3, epochs=600, schedule="cosine", log_every=20),
    StageConfig(name="draw", batch=32, lr=3e-3, epochs=40, schedule="cosine", log_every=20),
)
"""An epoch is the 8,192 rendered hands that are kept; `estimate` sees others, 2.5 million, each twice."""


def crossnets_networks() -> DenseCrossingConfig:
    """The estimator that ships, and the latent space around it."""
    return dense_crossing_networks(MSRA21, teacher=False)


def crossnets(
    *,
    terms: DrawingTerms = DrawingTerms(),  # noqa: B008 (frozen)
    precision: Precision = "auto",
    seed: int = 42,
    checkpoint_s: float = 60.0,
    anny: float = 0.0,
) -> CrossnetsConfig:
    """The preset that ships: a dense estimator trained on rendered hands, and the latent space around it.

    `anny` is the share of the hands that are meshes of Anny (`SyntheticConfig.anny`).
    """
    sources = tuple(
        SyntheticConfig(
            camera=camera,
            skeleton=MSRA21,
            seed=seed * len(KINDS_OF_SENSOR) + number,
            noise=(0.5, 1.5),
            cube_mm=(190.0, 290.0),
            center_spread_mm=10.0,
            again_share=0.5,
            views=Views(front=0.3, above=0.1, egocentric=0.2, uniform=0.4),
            clutter=Clutter(),
            anny=anny,
        )
        for number, camera in enumerate(KINDS_OF_SENSOR)
    )
    return CrossnetsConfig(
        preset="crossnets",
        skeleton=MSRA21.name,
        networks=crossnets_networks(),
        crop=CropConfig(cube_mm=CUBE_MM, normalisation="metric", centers="image"),
        stages=CROSSNETS_STAGES,
        terms=terms,
        precision=precision,
        seed=seed,
        checkpoint_s=checkpoint_s,
        passes=2,
        rendered=RenderedConfig(sources=sources, uses=4, damage=CropDamage()),
    )


FILLED = 0.15
"""Share of the detector's frames with filled holes."""
DETECTOR_STAGES = (StageConfig(name="detect", batch=64, lr=3e-3, epochs=120, schedule="cosine", log_every=20),)
"""Half a million frames, each seen twice."""


def detector_scenes(camera: str, seed: int, anny: float = 0.0, filled: float = 0.0) -> SceneConfig:
    """Scenes for the training and validation of a detector. People opposite the camera are more frequent than for hand
    crops. `filled` is as in `SceneConfig`."""
    hands = SyntheticConfig(
        camera=camera,
        skeleton=MSRA21,
        seed=seed,
        noise=(0.5, 1.5),
        distance_mm=(220.0, 1700.0),
        views=Views(front=0.5, above=0.15, egocentric=0.2, uniform=0.15),
        clutter=Clutter(body=0.9, second_hand=0.4),
        anny=anny,
    )
    return SceneConfig(hands=hands, filled=filled)


def detector(
    *, precision: Precision = "auto", seed: int = 42, checkpoint_s: float = 60.0, anny: float = 0.0
) -> DetectorTraining:
    """The detector of hands in whole frames, trained on rendered ones. `anny` is as in `crossnets`."""
    # Other frames than those of `crossnets` with the same seed.
    sources = tuple(
        detector_scenes(camera, 1_000_000 + seed * len(KINDS_OF_SENSOR) + number, anny, FILLED)
        for number, camera in enumerate(KINDS_OF_SENSOR)
    )
    return DetectorTraining(
        preset="detector",
        skeleton=MSRA21.name,
        networks=DetectorNetConfig(),
        stages=DETECTOR_STAGES,
        precision=precision,
        seed=seed,
        checkpoint_s=checkpoint_s,
        scenes=ScenesConfig(sources=sources, damage=SceneDamage()),
    )
