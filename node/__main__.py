"""`python -m node` is `dayfly`."""

import sys

if __name__ == "__main__":
    try:
        from node.cli import main  # here, so that Ctrl-C while it loads ends as quietly as later

        main()
    except KeyboardInterrupt:
        sys.exit(130)  # 128 + SIGINT, as shells count
