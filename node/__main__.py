"""`python -m node` is `dayfly`."""

from node.cli import main

if __name__ == "__main__":
    main()
