"""The paper's two refinements of an estimated latent (spec 5). Both compare the image with the generated one."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossnets.models.paper import CrossingNets
from crossnets.types import Refinement

UPDATE_STEPS = 10
UPDATE_RATE = 0.1
PRIOR_WEIGHT = 0.001


@torch.no_grad()
def learned_update(
    nets: CrossingNets, image: Float[Tensor, "B 1 S S"], z: Float[Tensor, "B Z"], steps: int = UPDATE_STEPS
) -> Float[Tensor, "B Z"]:
    """Repeat z <- z + 0.1 (Met(x) - Met(Gen(Ali(z)))). The paper leaves the number of steps open."""
    met_x = nets.disc.metric(image)
    for _ in range(steps):
        z = z + UPDATE_RATE * nets.disc.difference(met_x, nets.disc.metric(nets.render(z)))
    return z


def energy(nets: CrossingNets, met_x: Float[Tensor, "B K"], z: Float[Tensor, "B Z"]) -> Float[Tensor, "B"]:
    """E(z) = mean (Met(x) - Met(Gen(Ali(z))))^2 + 0.001 mean z^2."""
    difference = nets.disc.difference(met_x, nets.disc.metric(nets.render(z)))
    return (difference**2).mean(-1) + PRIOR_WEIGHT * (z**2).mean(-1)


def minimise_energy(
    nets: CrossingNets, image: Float[Tensor, "B 1 S S"], z: Float[Tensor, "B Z"], most_steps: int = 20
) -> Float[Tensor, "B Z"]:
    """Minimise `energy` by BFGS from z, separately for each image, in at most `most_steps` iterations."""
    with torch.no_grad():
        met_x = nets.disc.metric(image)
    rows = [_minimise(nets, met_x[i : i + 1], z[i : i + 1].detach(), most_steps) for i in range(len(image))]
    return torch.cat(rows).to(z)


def _minimise(nets: CrossingNets, met_x: Tensor, z: Tensor, most_steps: int) -> Tensor:
    # This import takes 0.3 s, and every command that opens a model would wait for it.
    from scipy.optimize import minimize

    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.from_numpy(flat).to(z)[None].requires_grad_()
        with torch.enable_grad():
            value = energy(nets, met_x, point)[0]
        (gradient,) = torch.autograd.grad(value, point)
        return float(value.detach()), gradient[0].double().numpy()

    start = z[0].double().numpy()
    found = minimize(value_and_gradient, start, jac=True, method="BFGS", options={"maxiter": most_steps})
    return torch.from_numpy(found.x)[None]


def refine(
    nets: CrossingNets, image: Float[Tensor, "B 1 S S"], z: Float[Tensor, "B Z"], how: Refinement
) -> Float[Tensor, "B Z"]:
    """Return the latent after the chosen refinement."""
    if how == "update":
        return learned_update(nets, image, z)
    if how == "energy":
        return minimise_energy(nets, image, z)
    return z
