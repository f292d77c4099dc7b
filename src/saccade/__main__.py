"""`python -m saccade`: the same as the `saccade` command."""

from .cli.main import main

if __name__ == "__main__":
    main()
