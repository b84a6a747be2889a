"""Networks of the user: any module from crops to joints, which the commands then train, export and run.

    @network("small", SmallSettings)
    class Small(nn.Module):
        def __init__(self, settings: SmallSettings, num_joints: int) -> None: ...
        def forward(self, image: Tensor) -> Tensor: ...   # (B, 1, 128, 128) to (B, J, 3)

The program that registers the network calls `crossnets.cli.main()`, and then has all commands. An installed package
registers its networks by entry points of the group `crossnets.networks`, whose names are those of the networks.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import entry_points
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

GROUP = "crossnets.networks"
"""Group of the entry points of installed packages."""
_BUILT_IN = ("paper", "crossing", "crossnets", "detector")
Module = TypeVar("Module", bound=type[nn.Module])


class Registered(NamedTuple):
    """A registered network and its settings."""

    module: type[nn.Module]
    settings: type[Any]
    """Dataclass of the settings, which all have defaults."""


class Found(NamedTuple):
    """Output of a registered network."""

    joints_mm: Float[Tensor, "B J 3"]
    """Joints relative to the centre of the crop, in the axes of the camera."""
    log_spread: Float[Tensor, "B J"] | None = None
    """Log of the expected error of each joint in mm. None if it is not estimated."""


_registered: dict[str, Registered] = {}


def network(name: str, settings: type[Any]) -> Callable[[Module], Module]:
    """Register a module as the preset `name`. Use it as a decorator of the class.

    The class is made with `(settings, num_joints)`. It takes images of shape (B, 1, 128, 128), metric depth from -1 to
    1 with background 1, and returns joints in mm relative to the crop's centre, (B, J, 3), or `Found`. A method
    `loss(found, joints_mm)` that returns named terms, a dictionary of scalars, replaces the default loss.

    Args:
        name: Name of the preset.
        settings: Frozen dataclass with numbers, texts and flags, all with defaults. They become options of
            `crossnets train --preset NAME`.

    Raises:
        ValueError: the name is taken or contains other characters than letters, digits, - and _, or `settings` is not a
            dataclass whose fields all have defaults.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"Found the network name {name!r}, expected letters, digits, - and _.")
    if not is_dataclass(settings):
        raise ValueError(f"Found {settings!r} as settings of {name}, expected a dataclass.")
    try:
        settings()
    except TypeError as error:
        raise ValueError(f"The settings of {name} need defaults: {error}.") from error

    def register(module: Module) -> Module:
        known = _registered.get(name)
        # A module that is imported twice, such as by a process that it started, registers the same class again.
        if name in _BUILT_IN or (known is not None and known.module.__qualname__ != module.__qualname__):
            raise ValueError(f"The network name {name!r} is taken. Choose another.")
        _registered[name] = Registered(module, settings)
        return module

    return register


def names() -> list[str]:
    """Return the names of all networks that programs and installed packages register."""
    return sorted({*_registered, *(point.name for point in entry_points(group=GROUP))})


def registered(name: str) -> Registered:
    """Find a network by its name. If an installed package registers it, the package is imported.

    Raises:
        ValueError: no network has this name.
    """
    if name not in _registered:
        for point in entry_points(group=GROUP):
            if point.name == name:
                point.load()
    if name not in _registered:
        raise ValueError(
            f"No network is registered as {name!r}. Run the command by the program that registers it, or install the "
            f"package that does. Registered: {', '.join(names()) or 'none'}."
        )
    return _registered[name]


@dataclass(frozen=True, kw_only=True)
class OwnNetworksConfig:
    """A registered network with its settings."""

    own: str
    """Registered name."""
    num_joints: int
    settings: Any
    """An instance of the registered dataclass."""


def own_config(own: str, num_joints: int, settings: dict[str, Any]) -> OwnNetworksConfig:
    """Restore a configuration from the fields of `dataclasses.asdict`.

    Raises:
        ValueError: no network has this name, or its settings have other fields.
    """
    kind = registered(own).settings
    known = {field.name for field in fields(kind)}
    if set(settings) != known:
        differing = ", ".join(sorted(set(settings) ^ known))
        raise ValueError(f"The settings of {own} differ from those of the registered network in {differing}.")
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    return OwnNetworksConfig(own=own, num_joints=num_joints, settings=kind(**given))


class OwnNetworks(nn.Module):
    """Wrapper of a registered network. Its output is always `Found`."""

    def __init__(self, config: OwnNetworksConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator.initial_seed())
            self.network = registered(config.own).module(config.settings, config.num_joints)

    def forward(self, image: Float[Tensor, "B 1 128 128"]) -> Found:
        """Compute the joints of each crop.

        Raises:
            ValueError: the network returns neither joints in mm nor `Found`.
        """
        found = self.network(image)
        found = found if isinstance(found, Found) else Found(found)
        # The number of images is not compared, because an exported network takes any number.
        joints = self.config.num_joints
        if not isinstance(found.joints_mm, Tensor) or tuple(found.joints_mm.shape[1:]) != (joints, 3):
            shape = getattr(found.joints_mm, "shape", type(found.joints_mm).__name__)
            raise ValueError(
                f"The network {self.config.own} returned {shape}, expected joints of shape (B, {joints}, 3)."
            )
        return found

    def loss(self, found: Found, joints_mm: Float[Tensor, "B J 3"]) -> dict[str, Float[Tensor, ""]]:
        """Compute the named terms of the loss, whose sum is minimised. They come from the network's `loss` if it has
        one.

        The default is the mean distance of the joints in mm, and the likelihood of the distances under exponential
        distributions of the estimated spreads. The second term has no gradient for the joints.
        """
        own = getattr(self.network, "loss", None)
        if own is not None:
            return own(found, joints_mm)
        distance = ((found.joints_mm.float() - joints_mm).square().sum(-1) + 1e-4).sqrt()
        terms = {"joints": distance.mean()}
        if found.log_spread is not None:
            log_spread = found.log_spread.float()
            terms["spread"] = (distance.detach() * (-log_spread).exp() + log_spread).mean()
        return terms
