"""`python -m m2cli` is `m2`."""

from m2cli.cli import main

main()
