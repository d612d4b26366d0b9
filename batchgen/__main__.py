"""`python -m batchgen`."""

from batchgen.cli.main import main

main()
