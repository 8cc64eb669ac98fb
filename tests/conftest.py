pytest_plugins = [
    "pytester",
    "tests.lab.plugin",
    "tests.rules.examples",
    "tests.rules.hazards",
    "tests.rules.logs",
    "tests.rules.skips",
    "tests.virtual_clock",
]
