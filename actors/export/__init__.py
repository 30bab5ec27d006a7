"""One model in many forms: written from a model folder, read back each in its own runtime, and compared with torch."""
