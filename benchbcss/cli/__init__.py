"""The command line: one module per command, nothing heavy imported at module level."""
