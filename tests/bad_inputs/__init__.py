"""The rows of tests/test_bad_inputs.py, a module a kind of input."""
