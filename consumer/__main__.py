"""`python -m consumer` is `backtest`."""

from consumer.cli import main

if __name__ == "__main__":
    main()
