"""Scenes as tables on a device, for the renderer.

Letters: I scenes, O places for objects in each, B = I * O places in all, R rays. Object o of scene i is
row i * O + o; tables are float32.
"""

from __future__ import annotations

import attrs
import numpy as np
import torch
from torch import Tensor

from hacore_clevr import camera
from hacore_clevr.domain import MATERIALS, SHAPES
from hacore_clevr.generate.layout import Objects, Views
from hacore_clevr.generate.look import TINTS
from hacore_clevr.generate.shapes import HITS, NORMALS
from hacore_clevr.generate.vectors import Vec

EMPTY = -1


@attrs.frozen(kw_only=True, eq=False)
class Stage:
    """What is to be drawn.

    eye, right, up, forward: cameras, of (I,) each. lights: key, fill, back, of (I,) each.
    shape_B: int64 index into SHAPES, or EMPTY. image_B: int64. center: of (B,). half_B: half height,
    radius, half side. reach_B: radius of the circle around the object seen from above. cos_B, sin_B: of
    the rotation. ball_B: square of half_B, 0 where empty. tint: of the material, of (B,). metal_B: bool.
    """

    scenes: int
    places: int
    eye: Vec
    right: Vec
    up: Vec
    forward: Vec
    lights: tuple[Vec, ...]
    shape_B: Tensor
    image_B: Tensor
    center: Vec
    half_B: Tensor
    reach_B: Tensor
    cos_B: Tensor
    sin_B: Tensor
    ball_B: Tensor
    tint: Vec
    metal_B: Tensor

    @property
    def device(self) -> torch.device:
        return self.half_B.device

    def reach_of(self, object_R: Tensor) -> Tensor:
        """Radii of balls around objects."""
        return self.half_B.index_select(0, object_R) * 3**0.5

    def local(self, points: Vec, directions: Vec, object_R: Tensor) -> tuple[Vec, Vec]:
        """Rays in the frames of objects."""
        cos, sin = self.cos_B.index_select(0, object_R), -self.sin_B.index_select(0, object_R)
        return (points - self.center.take(object_R)).turned(cos, sin), directions.turned(cos, sin)

    def hits(self, shape: int, points: Vec, directions: Vec, object_R: Tensor) -> tuple[Tensor, Tensor]:
        """Distance (inf for a miss) and face of each ray's own object; all objects of one shape."""
        origin, direction = self.local(points, directions, object_R)
        return HITS[shape](origin, direction, self.half_B.index_select(0, object_R))

    def normals(self, shape: int, points: Vec, object_R: Tensor) -> Vec:
        """Unit normals at points on objects of one shape."""
        cos, sin = self.cos_B.index_select(0, object_R), self.sin_B.index_select(0, object_R)
        local = (points - self.center.take(object_R)).turned(cos, -sin)
        return NORMALS[shape](local, self.half_B.index_select(0, object_R)).turned(cos, sin)

    def rays(self, image_R: Tensor, x_R: Tensor, y_R: Tensor) -> tuple[Vec, Vec]:
        """Eyes and directions of rays through places of pictures, x and y in [0, 1] from the top left.

        Directions have length one along the camera's axis: distances along them are depths.
        """
        right = self.right.take(image_R) * ((2 * x_R - 1) * camera.TAN_X)
        up = self.up.take(image_R) * ((1 - 2 * y_R) * camera.TAN_Y)
        return self.eye.take(image_R), self.forward.take(image_R) + right + up


def make_stage(views: Views, objects: Objects, device: torch.device | str = "cpu") -> Stage:
    """Tables of I scenes."""
    scenes, places = objects.shape_IO.shape

    def floats(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device)

    def vec(values: np.ndarray) -> Vec:
        return Vec(*(floats(values[..., i].reshape(-1)) for i in range(3)))

    def ints(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.reshape(-1).astype(np.int64)).to(device)

    frame = camera.axes(views.camera_I3)
    angle = np.deg2rad(objects.rotation_IO)
    cubes = objects.shape_IO == SHAPES.index("cube")
    empty = np.arange(places) >= views.count_I[:, None]
    metal = objects.material_IO == MATERIALS.index("metal")
    tints = np.asarray(TINTS)[objects.material_IO, objects.color_IO]
    half = objects.half_height_IO()
    return Stage(
        scenes=scenes,
        places=places,
        eye=vec(views.camera_I3),
        right=vec(frame.right_I3),
        up=vec(frame.up_I3),
        forward=vec(frame.forward_I3),
        lights=tuple(vec(views.lights_I33[:, i]) for i in range(3)),
        shape_B=ints(np.where(empty, EMPTY, objects.shape_IO)),
        image_B=ints(np.arange(scenes).repeat(places)),
        center=vec(objects.coords_IO3()),
        half_B=floats(half.reshape(-1)),
        reach_B=floats((half * np.where(cubes, np.sqrt(2.0), 1.0)).reshape(-1)),
        cos_B=floats(np.cos(angle).reshape(-1)),
        sin_B=floats(np.sin(angle).reshape(-1)),
        ball_B=floats(np.where(empty, 0.0, half * half).reshape(-1)),
        tint=vec(tints),
        metal_B=ints(metal) > 0,
    )
