"""`python -m gateway …` is `tandem …`."""

from gateway.cli import main

main()
