"""What CLEVR's worlds and questions are made of: attributes, relations, answers, question groups.

Source: Johnson et al. 2017, *CLEVR: A Diagnostic Dataset for Compositional Language and Elementary
Visual Reasoning*, arXiv 1612.06890. Imports neither torch nor NumPy.
"""

from __future__ import annotations

COLORS = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")
RGB = (
    (87, 87, 87),
    (173, 35, 35),
    (42, 75, 215),
    (29, 105, 20),
    (129, 74, 25),
    (129, 38, 192),
    (41, 208, 208),
    (255, 238, 51),
)
"""Of ``COLORS``, in [0, 255]."""

SHAPES = ("cube", "sphere", "cylinder")
SIZES = ("small", "large")
MATERIALS = ("rubber", "metal")
RADIUS = (0.35, 0.7)
"""Of ``SIZES``, in the units of the ground plane: radius of spheres and cylinders, half side of cubes."""

ATTRIBUTES = {"size": SIZES, "color": COLORS, "material": MATERIALS, "shape": SHAPES}
"""Values by attribute, in the order in which a description names them."""

RELATIONS = ("left", "right", "front", "behind")

NUMBERS = tuple(str(count) for count in range(11))
ANSWERS = (*NUMBERS, *COLORS, *SHAPES, *MATERIALS, *SIZES, "yes", "no")
"""The 28 answers, as strings."""

GROUPS = {
    "count": ("count",),
    "exist": ("exist",),
    "compare numbers": ("equal_integer", "less_than", "greater_than"),
    "query attribute": ("query_color", "query_shape", "query_size", "query_material"),
    "compare attribute": ("equal_color", "equal_shape", "equal_size", "equal_material"),
}
"""The five groups of the published scores: the last function of a program decides."""

QUESTION_TYPES = tuple(function for functions in GROUPS.values() for function in functions)
"""Last functions of programs."""
