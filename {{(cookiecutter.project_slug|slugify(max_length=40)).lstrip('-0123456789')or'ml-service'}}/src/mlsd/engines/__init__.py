"""What scores a matrix: LightGBM, compiled trees, ONNX Runtime, or a model server elsewhere, behind one interface."""
