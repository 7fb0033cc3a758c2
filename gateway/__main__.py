"""`python -m gateway …` is `tandem …`."""

from gateway.cli import main

if __name__ == "__main__":
    main()
