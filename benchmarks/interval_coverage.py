"""draft"""
from __future__ import annotations
from dataclasses import dataclass, replace
from functools import lru_cache
import numpy as np
from scipy.special import ndtr, betaincinv

from benchbcss.scoring.metrics import Triple

@dataclass(frozen=True)
class Shape:
    name: str
    rois: int = 45
    presence: tuple = (1.0,)
    sigma: float = 1.3
    recall: tuple = (4.0, 3.0)
    correlation: float = 0.0
    giant: float = 1.0
    found: float = 1.0
    perfect: float = 0.0
    size_effect: float = 0.3
    spurious: float = 0.3

@lru_cache
def quantiles(a, b):
    grid = np.linspace(-5, 5, 401)
    return grid, betaincinv(a, b, ndtr(grid))

def latent(shape, rng, sims):
    size = (sims, shape.rois, len(shape.presence))
    common = rng.standard_normal((sims, shape.rois, 1))
    r = shape.correlation
    return np.sqrt(r) * common + np.sqrt(1 - r) * rng.standard_normal(size)

def draw(shape, rng, sims):
    size = (sims, shape.rois, len(shape.presence))
    present = rng.random(size) < np.array(shape.presence)
    z_area = rng.standard_normal(size)
    area = np.exp(10 + shape.sigma * z_area)
    area[:, 0] *= shape.giant
    z = np.sqrt(1 - shape.size_effect**2) * latent(shape, rng, sims) + shape.size_effect * z_area
    grid, q = quantiles(*shape.recall)
    recall = np.interp(z, grid, q)
    if shape.found < 1:
        recall = np.where(rng.random(size) < shape.found, recall, 0.0)
    if shape.perfect:
        ideal = rng.random(size) < shape.perfect
        recall = np.where(ideal, 1.0, recall)
    true = np.where(present, np.maximum(1, np.round(area)), 0).astype(np.int64)
    hit = np.round(true * recall).astype(np.int64)
    extra = np.round(true * rng.uniform(0, 0.5, size)).astype(np.int64)
    if shape.perfect:
        extra = np.where(ideal, 0, extra)
    ghost = (~present) & (rng.random(size) < shape.spurious)
    extra = np.where(ghost, np.round(0.05 * area), extra).astype(np.int64)
    return Triple(hit, true, hit + extra)

@lru_cache(maxsize=None)
def truth(shape, estimand):
    rng = np.random.default_rng(1)
    top = bottom = 0
    blocks = max(1, 2_000_000 // (shape.rois * 4000 ))
    for _ in range(blocks):
        t = draw(shape, rng, 4000)
        if estimand == "pooled":
            top = top + 2.0 * t.hit.sum((0, 1)); bottom = bottom + (t.true + t.predicted).sum((0, 1))
        else:
            here = t.true > 0
            d = np.where(here, 2 * t.hit / np.maximum(1, t.true + t.predicted), 0)
            top = top + d.sum((0, 1)); bottom = bottom + here.sum((0, 1))
    return top / bottom
