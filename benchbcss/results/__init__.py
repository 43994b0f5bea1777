"""What a run found, as typed records: written, read and published from one set of models."""

#: the record of a finished run, in its folder
RESULT = "result.json"
