"""`python -m reelgate` is `reelgate`."""

from reelgate.cli import main

if __name__ == "__main__":
    main()
