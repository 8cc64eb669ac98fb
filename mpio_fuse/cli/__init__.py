"""Commands for people and scripts; see ``main``."""
