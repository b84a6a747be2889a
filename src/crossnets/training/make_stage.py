"""Make the stage that a configuration names."""

from collections.abc import Callable

from crossnets.models.dense_crossing import DenseCrossing
from crossnets.models.detector import DetectorNet
from crossnets.models.networks import Networks
from crossnets.models.own import OwnNetworks
from crossnets.models.paper import CrossingNets, Regressor
from crossnets.training import paper_stages
from crossnets.training.config import CrossingTerms, DrawingTerms, StageConfig, Terms
from crossnets.training.crossing_stages import KL_WEIGHT, CrossingStage, DrawStage
from crossnets.training.detector_stage import DetectStage
from crossnets.training.estimator_stage import EstimateStage
from crossnets.training.own_stage import OwnStage
from crossnets.training.stage import Stage


def make_stage(nets: Networks | DetectorNet, config: StageConfig, terms: Terms | DrawingTerms) -> Stage:
    """The stage of a configuration, with fresh optimisers."""
    if isinstance(nets, DetectorNet):
        return DetectStage(nets, config)
    if isinstance(nets, OwnNetworks):
        return OwnStage(nets, config)
    if isinstance(nets, Regressor):
        return paper_stages.RegressionStage(nets, config)
    if isinstance(nets, DenseCrossing):
        assert isinstance(terms, DrawingTerms)
        return _dense_crossing_stage(nets, config, terms)
    assert isinstance(nets, CrossingNets)
    assert isinstance(terms, Terms)
    return _paper_stage(nets, config, terms)


def _dense_crossing_stage(nets: DenseCrossing, config: StageConfig, terms: DrawingTerms) -> Stage:
    """A stage of the presets `crossing` and `crossnets`."""
    if config.name == "pose_vae":
        return paper_stages.PoseVAEStage(nets, config, kl_weight=KL_WEIGHT)
    if config.name == "estimate":
        return EstimateStage(nets, config)
    if config.name == "draw":
        return DrawStage(nets, config, terms)
    assert isinstance(terms, CrossingTerms)
    return CrossingStage(nets, config, terms)


def _paper_stage(crossing: CrossingNets, config: StageConfig, terms: Terms) -> Stage:
    """A stage around the paper's latent space, of the preset `paper`."""
    makers: dict[str, Callable[[], Stage]] = {
        "pose_vae": lambda: paper_stages.PoseVAEStage(crossing, config),
        "depth_gan": lambda: paper_stages.DepthGANStage(crossing, config),
        "warm_up": lambda: paper_stages.WarmUpStage(crossing, config, terms),
        "joint": lambda: paper_stages.JointStage(crossing, config, terms),
    }
    return makers[config.name]()
