"""The PyTorch runtime: packed and padded passes, on CPUs and GPUs."""
