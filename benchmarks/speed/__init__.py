"""This harness against what people would use instead, on the same inputs: ``make bench``.

A case is a list of contestants, this harness first. Their answers are compared, and only then are
they timed, in alternating turns in one process. Ratios are what counts: machines differ, and this
one may be busy.
"""
