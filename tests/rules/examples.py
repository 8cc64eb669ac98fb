"""Which examples Hypothesis draws: the same in every run, unless new ones are asked for.

``repeatable``, the default, derives the examples from the test itself, so that what fails for you fails for all.
``--hypothesis-profile=explore`` draws new ones, more of them, and prints the seed they came from.
"""

import secrets

import pytest
from hypothesis import settings

# No deadlines: on a busy machine they fail tests that are right.
settings.register_profile("repeatable", derandomize=True, deadline=None)
# On a CI machine Hypothesis's own default is derandomize=True, so exploring says that it does not want it.
settings.register_profile(
    "explore", derandomize=False, deadline=None, max_examples=1000, print_blob=True
)
settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)  # before Hypothesis's own plugin reads the option
def pytest_configure(config: pytest.Config) -> None:
    if config.option.hypothesis_seed is None and config.option.hypothesis_profile == "explore":
        config.option.hypothesis_seed = secrets.randbits(32)


def pytest_report_header(config: pytest.Config) -> str:
    seed = config.option.hypothesis_seed
    if seed is None:
        return "examples: repeatable (new ones: --hypothesis-profile=explore)"
    return f"examples: seed {seed} (again: --hypothesis-profile=explore --hypothesis-seed={seed})"
