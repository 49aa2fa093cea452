"""How surfaces look, in numbers fitted to original pictures by ``benchmarks/clevr_look.py``. Imports no torch.

Colours are linear, in units of what the ground shows of the same light.
"""

Color = tuple[float, float, float]

RUBBER: tuple[Color, ...] = (
    (0.405, 0.404, 0.403), (0.776, 0.168, 0.168), (0.201, 0.348, 0.971), (0.145, 0.488, 0.103),
    (0.586, 0.343, 0.126), (0.589, 0.184, 0.867), (0.196, 0.940, 0.941), (1.149, 1.070, 0.242),
)
METAL: tuple[Color, ...] = (
    (0.333, 0.337, 0.331), (0.680, 0.135, 0.133), (0.158, 0.287, 0.830), (0.111, 0.407, 0.076),
    (0.496, 0.285, 0.094), (0.499, 0.146, 0.748), (0.155, 0.815, 0.802), (1.003, 0.944, 0.192),
)
TINTS = (RUBBER, METAL)
"""By material and colour."""

SKY: Color = (0.054, 0.054, 0.054)
"""What a surface gets from above without lamps."""
GLOW: Color = (0.165, 0.163, 0.159)
"""What a surface gets from below: the ground gives light back."""
SKY_DIMMING = 0.116

RUBBER_SHINE, RUBBER_WIDTH = 0.0555, 0.053
METAL_WIDTH = 0.053
METAL_MATTE = 0.1
METAL_IN_METAL = 0.148
GROUND_IN_METAL: Color = (0.85, 0.84, 0.86)
FAR_GROUND: Color = (0.19, 0.19, 0.19)
WORLD: Color = (0.016, 0.016, 0.016)
HORIZON, HORIZON_WIDTH = 0.1, 0.55
DARK = 1e-4
