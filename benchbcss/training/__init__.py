"""Training: the loop, schedules, augmentation, sampling, stability."""
