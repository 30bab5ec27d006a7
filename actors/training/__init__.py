"""Training a QA model in plain PyTorch: dataset, sampler, losses, optimizer steps and checkpoints. No Ray here."""
