"""Nothing here is collected where the other backtesters are not installed: `make conformance` has them."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("backtesting") and find_spec("vectorbt") else ["test_*.py"]
