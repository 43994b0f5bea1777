"""A board as text: for a terminal, as JSON, CSV or Markdown."""
