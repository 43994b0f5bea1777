"""The report: a workspace as one offline HTML file, for reading, printing and passing on.

Everything in it is read from a board, from run folders' records and tables, and from what scoring
computes of them; altair draws the charts, great-tables the tables, jinja2 the page.
"""
