"""Reading: codes and label maps, splits, the BCSS layout, the tile store, the phantom."""
