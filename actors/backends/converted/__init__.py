"""Runtimes for which a model is converted first: ONNX Runtime, OpenVINO and CTranslate2."""
