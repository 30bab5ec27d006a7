"""The Open Inference Protocol: routes, tensors, and their binary form."""
