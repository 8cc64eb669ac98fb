import functools
import logging
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

RULES = ("tests.rules.logs", "tests.rules.skips")


def run(pytester: pytest.Pytester, code: str, *args: str) -> pytest.RunResult:
    """Run tests under the rules, in this process, hidden from the rules this test itself obeys."""
    pytester.makepyfile(textwrap.dedent(code))
    plugins = [part for rule in RULES for part in ("-p", rule)]
    root = logging.getLogger()
    hidden, root.handlers[:] = root.handlers[:], []
    try:
        return pytester.runpytest_inprocess(*plugins, "-W", "error", *args)
    finally:
        root.handlers[:] = hidden


LOGS = """
    import logging
    import pytest
    import structlog
    from structlog.testing import capture_logs

    def warn():
        structlog.get_logger("device").warning("underpath down", lun="naa.6001", underpath="/dev/sg3")
"""


def test_a_quiet_test_passes(pytester: pytest.Pytester) -> None:
    body = """
    def test_quiet():
        structlog.get_logger("device").info("underpath up")
        logging.getLogger("device").info("underpath up")
    """
    run(pytester, LOGS + body).assert_outcomes(passed=1)


def test_an_unannounced_warning_fails_the_test_and_is_shown_with_its_keys(
    pytester: pytest.Pytester,
) -> None:
    body = """
    def test_structlog():
        warn()
    def test_stdlib():
        logging.getLogger("pyfuse3").error("gave up on %s", "naa.6001")
    """
    result = run(pytester, LOGS + body)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "WARNING device: underpath down lun=naa.6001 underpath=/dev/sg3",
            "ERROR pyfuse3: gave up on naa.6001",
        ]
    )


def test_an_announced_warning_is_allowed(pytester: pytest.Pytester) -> None:
    body = """
    @pytest.mark.expects_log("underpath down .*underpath=/dev/sg3")
    def test_marker():
        warn()
    def test_fixture(announce_log):
        announce_log("lun=naa.6001")
        warn()
    """
    run(pytester, LOGS + body).assert_outcomes(passed=2)


def test_an_announcement_covers_only_what_it_matches(pytester: pytest.Pytester) -> None:
    body = """
    @pytest.mark.expects_log("underpath down")
    def test_two():
        warn()
        logging.getLogger("device").warning("another")
    """
    result = run(pytester, LOGS + body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["WARNING device: another"])


def test_an_announced_record_that_never_comes_fails_the_test(pytester: pytest.Pytester) -> None:
    body = """
    @pytest.mark.expects_log("underpath down")
    def test_nothing():
        pass
    """
    result = run(pytester, LOGS + body)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*never logged: underpath down"])


def test_a_warning_from_a_fixture_counts(pytester: pytest.Pytester) -> None:
    body = """
    @pytest.fixture
    def noisy_before():
        warn()
    @pytest.fixture
    def noisy_after():
        yield
        warn()
    def test_before(noisy_before):
        pass
    def test_after(noisy_after):
        pass
    """
    run(pytester, LOGS + body).assert_outcomes(passed=1, errors=2)


def test_what_a_test_captures_it_judges_itself(pytester: pytest.Pytester) -> None:
    body = """
    def test_captured():
        with capture_logs() as records:
            warn()
        assert records[0]["underpath"] == "/dev/sg3"
    """
    run(pytester, LOGS + body).assert_outcomes(passed=1)


def test_a_test_that_fails_is_not_blamed_for_what_it_did_not_log(pytester: pytest.Pytester) -> None:
    body = """
    @pytest.mark.expects_log("underpath down")
    def test_fails_first():
        assert False
    """
    run(pytester, LOGS + body).assert_outcomes(failed=1)


@pytest.mark.parametrize(
    "body",
    [
        "@pytest.mark.skip(reason='no such machine')\ndef test_it(): pass",
        "@pytest.mark.skipif(True, reason='no such machine')\ndef test_it(): pass",
        "def test_it(): pytest.skip('no such machine')",
        "@pytest.fixture\ndef lab(): pytest.skip('no such machine')\ndef test_it(lab): pass",
    ],
)
def test_a_skipped_test_fails_with_its_reason(pytester: pytest.Pytester, body: str) -> None:
    result = run(pytester, "import pytest\n" + body)
    counts = result.parseoutcomes()
    assert counts.pop("failed", 0) + counts.pop("errors", 0) == 1
    assert counts == {}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*nothing is skipped here; *no such machine*"])


def test_a_skipped_module_fails_with_its_reason(pytester: pytest.Pytester) -> None:
    result = run(pytester, "import pytest\npytest.skip('no such machine', allow_module_level=True)")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*nothing is skipped here; *no such machine*"])


DRAWS = """
    from hypothesis import given, strategies
    drawn = []

    @given(strategies.integers())
    def test_draw(number):
        drawn.append(number)

    def test_print():
        print("\\ndrew", drawn)
"""


@pytest.fixture
def draw(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., pytest.RunResult]:
    """Run `DRAWS` in a process of its own: profile and seed are the whole process's."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makepyfile(textwrap.dedent(DRAWS))
    return functools.partial(pytester.runpytest_subprocess, "-p", "tests.rules.examples", "-s")


def drew(result: pytest.RunResult) -> str:
    [line] = [line for line in result.outlines if line.startswith("drew ")]
    return line


def test_examples_are_the_same_in_every_run(draw: Callable[..., pytest.RunResult]) -> None:
    first, second = draw(), draw()
    assert drew(first) == drew(second)
    first.stdout.fnmatch_lines(["examples: repeatable*"])


def test_exploring_prints_the_seed_that_repeats_it(draw: Callable[..., pytest.RunResult]) -> None:
    first = draw("--hypothesis-profile=explore")
    [header] = [line for line in first.outlines if line.startswith("examples: seed ")]
    seed = header.split()[2]
    assert drew(first) == drew(draw("--hypothesis-profile=explore", f"--hypothesis-seed={seed}"))
    assert drew(first) != drew(draw("--hypothesis-profile=explore"))
