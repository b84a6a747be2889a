"""The code for the name of a stage."""

from collections.abc import Callable

from crossnets.models.dense_crossing import DenseCrossing
from crossnets.models.detector import DetectorNet
from crossnets.models.networks import Networks
from crossnets.models.own import OwnNetworks
from crossnets.models.paper import CrossingNets, Regressor
from crossnets.training import steps
from crossnets.training.config import CrossingTerms, DrawingTerms, StageConfig, Terms
from crossnets.training.crossing_stages import KL_WEIGHT, CrossingStage, DrawStage
from crossnets.training.detect import DetectStage
from crossnets.training.estimate import EstimateStage


def make_stage(nets: Networks | DetectorNet, config: StageConfig, terms: Terms | DrawingTerms) -> steps.Stage:
    """The stage of a configuration, with fresh optimisers."""
    if isinstance(nets, DetectorNet):
        return DetectStage(nets, config)
    if isinstance(nets, OwnNetworks):
        return steps.OwnStage(nets, config)
    if isinstance(nets, Regressor):
        return steps.RegressionStage(nets, config)
    if isinstance(nets, DenseCrossing):
        assert isinstance(terms, DrawingTerms)
        return _dense_crossing_stage(nets, config, terms)
    assert isinstance(nets, CrossingNets)
    assert isinstance(terms, Terms)
    return _paper_stage(nets, config, terms)


def _dense_crossing_stage(nets: DenseCrossing, config: StageConfig, terms: DrawingTerms) -> steps.Stage:
    """A stage of the presets `crossing` and `crossnets`."""
    if config.name == "pose_vae":
        return steps.PoseVAEStage(nets, config, kl_weight=KL_WEIGHT)
    if config.name == "estimate":
        return EstimateStage(nets, config)
    if config.name == "draw":
        return DrawStage(nets, config, terms)
    assert isinstance(terms, CrossingTerms)
    return CrossingStage(nets, config, terms)


def _paper_stage(crossing: CrossingNets, config: StageConfig, terms: Terms) -> steps.Stage:
    """A stage around the paper's latent space, of the preset `paper`."""
    makers: dict[str, Callable[[], steps.Stage]] = {
        "pose_vae": lambda: steps.PoseVAEStage(crossing, config),
        "depth_gan": lambda: steps.DepthGANStage(crossing, config),
        "warm_up": lambda: steps.WarmUpStage(crossing, config, terms),
        "joint": lambda: steps.JointStage(crossing, config, terms),
    }
    return makers[config.name]()
