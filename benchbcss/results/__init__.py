"""What a run found, as typed records: written, read and published from one set of models."""

#: the record of a finished run, in its folder
RESULT = "result.json"
#: the validation of a run that was asked to go no further, by its final weights
VALIDATION = "validation.json"
