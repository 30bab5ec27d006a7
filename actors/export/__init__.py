"""One model in many forms: written from a model folder, read back in each form's own runtime, and compared with torch."""
