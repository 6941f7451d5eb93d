"""`python -m export`: export a run, inspect an exported folder."""

from export.cli import main

main()
