"""Sample bars that come with the package; the README beside them says where they are from."""

from pathlib import Path

EURUSD_H1 = Path(__file__).parent / "eurusd_h1.parquet"
"""EURUSD, H1, 2015 to 2017."""
