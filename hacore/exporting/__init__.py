"""A trained model as one file for other programs: ONNX, or a program of torch.export."""

from hacore.exporting._export import Exported, export

__all__ = ["Exported", "export"]
