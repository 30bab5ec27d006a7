"""`spanmill finetune`: data, workers of Ray Train, checkpoints, and the folder with its model card."""
