"""The part of the build that pyproject.toml has no words for: the cffi extension."""

from setuptools import setup

setup(cffi_modules=["mpio_fuse/transport/sg/build.py:ffibuilder"])
