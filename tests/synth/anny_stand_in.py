"""A stand-in for the model Anny: each bone is a box, so that the skin's place tells where the bone is."""

import numpy as np
import torch

from crossnets.synth.hand.anny_hands import AnnyModel, describe

_LABELS = ("root", "wrist.R", *(f"finger1-{k}.R" for k in (1, 2, 3)))
LABELS = (
    *_LABELS,
    *(name for d in (1, 2, 3, 4) for name in (f"metacarpal{d}.R", *(f"finger{d + 1}-{k}.R" for k in (1, 2, 3)))),
)
_CHAINS = {
    "finger1": [(20, 30, 8), (36, 55, 20), (50, 80, 30), (56, 108, 30)],
    "2": [(8, 30, 0), (25, 100, 0), (27, 128, 1), (28, 150, 3), (29, 172, 6)],
    "3": [(0, 30, 0), (3, 100, 0), (3, 131, 1), (3, 157, 4), (3, 180, 8)],
    "4": [(-8, 30, 0), (-15, 92, 0), (-18, 120, 1), (-20, 142, 4), (-22, 165, 7)],
    "5": [(-16, 30, 0), (-32, 82, 0), (-37, 100, 1), (-40, 114, 3), (-43, 130, 5)],
}
"""Joints of each digit in mm, in the axes of the hand: towards the thumb, towards the fingers, out of the palm."""
HALF_MM = 6.0
_RINGS = 9
VERTICES = 4 * _RINGS
"""Vertices of a box: four corners in each of several rings along the bone, from its start."""


def _faces() -> np.ndarray:
    """Triangles of a box, counter-clockwise from outside. The first two close its start."""
    faces = [(0, 1, 2), (0, 2, 3)]
    for ring in range(_RINGS - 1):
        for k in range(4):
            a = 4 * ring + k
            b = 4 * ring + (k + 1) % 4
            faces += [(a, b + 4, b), (a, a + 4, b + 4)]
    last = VERTICES - 4
    return np.array([*faces, (last, last + 2, last + 1), (last, last + 3, last + 2)])


class _Boxes(torch.nn.Module):
    """The interface of `anny.Anny` as far as it is used. The phenotype `age` stretches everything."""

    phenotype_labels = ("gender", "age")
    bone_labels = LABELS

    def __init__(self) -> None:
        super().__init__()
        ends = {"root": [(0, 0, 0), (0, 0.01, 0)], "wrist.R": [(0, 0, 0), (0, 28, 0)]}
        for name, chain in _CHAINS.items():
            fingers = [f"{name}-{k}.R" for k in (1, 2, 3)]
            labels = fingers if name == "finger1" else [f"metacarpal{int(name) - 1}.R"]
            labels += [] if name == "finger1" else [f"finger{name}-{k}.R" for k in (1, 2, 3)]
            ends |= {label: [chain[k], chain[k + 1]] for k, label in enumerate(labels)}
        corners = []
        for label in LABELS:
            start, end = np.array(ends[label], float)
            along = (end - start) / np.linalg.norm(end - start)
            across = np.cross(along, [0.0, 0, 1])
            across /= np.linalg.norm(across)
            through = np.cross(across, along)
            corners += [
                start + t * (end - start) + HALF_MM * (a * across + b * through)
                for t in np.linspace(0, 1, _RINGS)
                for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
            ]
        into_anny = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
        self._vertices = torch.tensor(np.array(corners) @ into_anny / 1000).float()
        self._heads = torch.tensor(np.array([ends[label][0] for label in LABELS]) @ into_anny / 1000).float()
        count = len(LABELS)
        # The box of the wrist has no lower side, so it is open there.
        faces = [_faces()[2 if label == "wrist.R" else 0 :] + VERTICES * b for b, label in enumerate(LABELS)]
        self.faces = torch.tensor(np.concatenate(faces[1:]))
        self.vertex_bone_indices = torch.arange(count).repeat_interleave(VERTICES)[:, None]
        self.vertex_bone_weights = torch.ones(VERTICES * count, 1)

    def forward(
        self,
        phenotype_kwargs: dict[str, torch.Tensor] | None = None,
        local_changes_kwargs: dict[str, torch.Tensor] | None = None,
    ) -> dict[str, torch.Tensor]:
        ages = torch.full((1,), 0.5) if phenotype_kwargs is None else phenotype_kwargs["age"]
        stretch = torch.stack([torch.ones_like(ages), 0.8 + 0.4 * ages, torch.ones_like(ages)], dim=-1)[:, None]
        poses = torch.eye(4).repeat(len(ages), len(LABELS), 1, 1)
        poses[:, :, :3, 3] = self._heads * stretch
        return {"vertices": self._vertices * stretch, "bone_poses": poses}


def stand_in() -> AnnyModel:
    return describe(_Boxes())
