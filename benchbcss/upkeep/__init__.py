"""Keeping house: what a workspace may lose, and whether this machine is fit to run."""
