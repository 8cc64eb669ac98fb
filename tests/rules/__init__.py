"""Rules that every test obeys, as pytest plugins; `tests/conftest.py` loads them."""
