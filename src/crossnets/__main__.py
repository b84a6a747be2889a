"""`python -m crossnets`."""

from crossnets.cli import main

main()
