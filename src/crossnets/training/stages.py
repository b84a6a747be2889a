"""Which code a stage's name stands for."""

from collections.abc import Callable

from crossnets.models.crossing import Regressor
from crossnets.models.crossnet import CrossNet
from crossnets.models.detector import DetectorNet
from crossnets.models.networks import Networks
from crossnets.models.own import OwnNetworks
from crossnets.training import steps
from crossnets.training.config import StageConfig, Terms
from crossnets.training.detect import DetectStage
from crossnets.training.estimate import EstimateStage


def make_stage(nets: Networks | DetectorNet, config: StageConfig, terms: Terms) -> steps.Stage:
    """The stage of a configuration, with fresh optimisers."""
    if isinstance(nets, DetectorNet):
        return DetectStage(nets, config)
    if isinstance(nets, OwnNetworks):
        return steps.OwnStage(nets, config)
    if isinstance(nets, Regressor):
        return steps.RegressionStage(nets, config)
    if config.name == "estimate":
        assert isinstance(nets, CrossNet)
        return EstimateStage(nets, config)
    crossing = nets.crossing if isinstance(nets, CrossNet) else nets
    makers: dict[str, Callable[[], steps.Stage]] = {
        "pose_vae": lambda: steps.PoseVAEStage(crossing, config),
        "depth_gan": lambda: steps.DepthGANStage(crossing, config),
        "warm_up": lambda: steps.WarmUpStage(crossing, config, terms),
        "joint": lambda: steps.JointStage(crossing, config, terms),
    }
    return makers[config.name]()
