"""Parts of networks that a training leaves as they are."""

from collections.abc import Sequence

from torch import nn

from crossnets.training.stage import Stage


def freeze(networks: nn.Module, names: Sequence[str]) -> None:
    """Keep these parts as they are: no gradient reaches their weights, and they normalise as in predictions.

    Their running averages stay as well. The state ends when `networks.train()` is called.

    Raises:
        ValueError: the networks have no part of a name.
    """
    parts = dict(networks.named_modules())
    for name in names:
        if not name or name not in parts:
            known = ", ".join(part for part, _ in networks.named_children())
            raise ValueError(f"--freeze {name}: expected a part of the networks, such as {known}, or a part of these.")
        parts[name].requires_grad_(False).eval()


def without_frozen(stage: Stage, name: str) -> Stage:
    """The stage with optimisers of the parameters that are not frozen.

    Raises:
        ValueError: an optimiser has no other parameters.
    """
    for what, optimiser in stage.optimisers.items():
        for group in optimiser.param_groups:
            group["params"] = [parameter for parameter in group["params"] if parameter.requires_grad]
        if not any(group["params"] for group in optimiser.param_groups):
            raise ValueError(
                f"--freeze leaves nothing to train to the {what} of the stage {name}. Freeze less, or leave the stage "
                "out: --stages names those that remain."
            )
    return stage
