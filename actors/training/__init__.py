"""Making a model: labels, batches, losses and steps. Plain PyTorch; Ray stays outside."""
