"""How surfaces look, in numbers that ``benchmarks/clevr_look.py`` fitted to originals. Imports no torch.

Colours are linear, in units of what the ground shows of the same light.
"""

Color = tuple[float, float, float]

RUBBER: tuple[Color, ...] = (
    (0.405, 0.404, 0.403),
    (0.784, 0.171, 0.172),
    (0.202, 0.350, 0.977),
    (0.146, 0.490, 0.104),
    (0.588, 0.344, 0.126),
    (0.594, 0.183, 0.874),
    (0.197, 0.948, 0.947),
    (1.159, 1.080, 0.242),
)
METAL: tuple[Color, ...] = (
    (0.285, 0.287, 0.288),
    (0.581, 0.115, 0.114),
    (0.137, 0.248, 0.729),
    (0.094, 0.347, 0.066),
    (0.425, 0.244, 0.083),
    (0.426, 0.124, 0.651),
    (0.134, 0.714, 0.711),
    (0.872, 0.817, 0.167),
)
TINTS = (RUBBER, METAL)
"""By material and colour."""

SKY: Color = (0.057, 0.057, 0.057)
"""What a surface gets from above without lamps."""
GLOW: Color = (0.156, 0.154, 0.150)
"""What a surface gets from below: the ground gives light back."""
SKY_DIMMING = 0.239
"""How much an object that fills the half space above a surface takes of both."""

RUBBER_SHINE, RUBBER_WIDTH = 0.0551, 0.0538
"""Of the halos of lamps on rubber: share of the light, and 1 - cosine at which a quarter of that is left."""
METAL_WIDTH = 0.0477
"""The same width on metal; how much is each lamp's own."""
METAL_MATTE = 0.186
"""How much metal shows of what reaches it, as rubber does."""
METAL_IN_METAL = 0.0775
"""What a metal object mirrors where it is mirrored itself."""
GROUND_IN_METAL: Color = (0.764, 0.760, 0.767)
"""Share of the ground's light that metal mirrors."""
FAR_GROUND: Color = (0.097, 0.081, 0.082)
"""What stands for the ground in directions that miss it and are still below the blurred horizon."""
WORLD: Color = (0.042, 0.040, 0.039)
"""What metal mirrors in every direction."""
HORIZON, HORIZON_WIDTH = 0.177, 0.639
"""Rise of mirrored rays at which the ground has faded away, and how much lower that begins."""
DARK = 1e-4
"""Lamps that give less than this are seen from behind."""
