"""Writing a trained model for others: safetensors, transformers, CTranslate2, ONNX."""

from minitf.export.export import FORMATS, export

__all__ = ["FORMATS", "export"]
