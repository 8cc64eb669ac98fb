"""The part of the build that pyproject.toml has no words for: the cffi extensions."""

from setuptools import setup

setup(
    cffi_modules=[
        "mpio_fuse/transport/sg/build.py:ffibuilder",
        "mpio_fuse/transport/iscsi/build.py:ffibuilder",
    ]
)
