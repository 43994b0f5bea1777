"""The phantom: synthetic H&E-like ROIs in BCSS's layout, names, codes and institute sites.

It exists so that everything runs anywhere; its numbers are not BCSS. Tumour nests, fibrous
stroma, lymphocyte clusters, pale necrosis, vessels as rings, fat and glands as 'other', rotated
ROIs with outside_roi corners, a stain per institute. Classes share colours on purpose, nuclei of
one class stray into another, and what is drawn follows the labels only within a few pixels.

Same parameters, same bytes: every ROI draws from a generator of its own. ``figures.yaml`` holds
what it is drawn from.
"""

from benchbcss.data.phantom.figures import SHARES, TEST_SITES, TRAIN_SITES, TUMOR, VERSION
from benchbcss.data.phantom.folder import generate

__all__ = ["SHARES", "TEST_SITES", "TRAIN_SITES", "TUMOR", "VERSION", "generate"]
