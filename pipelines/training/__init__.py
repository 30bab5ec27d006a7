"""`spanmill finetune`: training data, Ray Train workers, checkpoints, and the model folder with its card."""
