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
    (0.307, 0.313, 0.305),
    (0.62, 0.125, 0.121),
    (0.145, 0.265, 0.762),
    (0.102, 0.377, 0.0697),
    (0.462, 0.267, 0.0877),
    (0.455, 0.135, 0.682),
    (0.144, 0.765, 0.742),
    (0.938, 0.887, 0.178),
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
METAL_WIDTH = 0.139
"""1 - cosine at which a sixteenth of a halo on metal is left; how much is each lamp's own."""
METAL_MATTE = 0.0334
"""How much metal shows of what reaches it, as rubber does."""
METAL_TOP: Color = (0.0826, 0.0812, 0.081)
"""What the flat tops of metal cubes and cylinders show besides, wherever they stand."""
METAL_IN_METAL = 0.168
"""What a metal object mirrors where it is mirrored itself."""
GROUND_IN_METAL: Color = (0.909, 0.892, 0.915)
"""Share of the ground's light that metal mirrors."""
FAR_GROUND: Color = (0.102, 0.0982, 0.0983)
"""What stands for the ground in directions that miss it and are still below the blurred horizon."""
WORLD: Color = (0.0206, 0.0195, 0.0211)
"""What metal mirrors in every direction."""
HORIZON, HORIZON_WIDTH = 0.447, 0.817
"""Rise of mirrored rays at which the ground has faded away, and how much lower that begins."""
DARK = 1e-4
"""Lamps that give less than this are seen from behind."""
