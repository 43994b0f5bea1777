"""Inference: tiling and blending, prompts from ground truth."""
