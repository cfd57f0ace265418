"""The yardstick of `recipes/benchmark.py`."""
