"""`python -m thickets` is the same as `thickets`."""

from thickets.cli.main import main

main()
