"""``python -m benchbcss``: the command line without its installed script."""

from benchbcss.cli.main import main

main()
