"""Runs: specification, executor, worker, checkpoints, result records."""
