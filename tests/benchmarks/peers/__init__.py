"""The programs that the engine is measured against, each behind one small worker in an environment of their own.

Scripts here run in scratch environments (`.venv-bench` from engines.txt, the service's own from faststream.txt).
"""
