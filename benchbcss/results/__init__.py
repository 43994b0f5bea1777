"""What a run found, as typed records: written, read and published from one set of models."""
