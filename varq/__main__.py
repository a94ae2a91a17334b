"""`python -m varq` is the command `varq`."""

from varq.cli import main

if __name__ == "__main__":
    main()
