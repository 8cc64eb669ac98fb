"""``python -m tests.schedules``: play random schedules, and say which broke an invariant, and how to have it again."""

import argparse
import contextlib
import sys

from tests.schedules.chronicle import line
from tests.schedules.generator import TROUBLES, draw
from tests.schedules.mutations import MUTATIONS
from tests.schedules.play import be_quiet, play
from tests.schedules.run import Tally, run, told
from tests.schedules.schedule import ARRAYS

COMMAND = "python -m tests.schedules"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(COMMAND, description=__doc__)
    parser.add_argument("--count", type=int, default=100, metavar="N", help="default: 100")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="the first; default: 1")
    parser.add_argument("--switch-off", choices=sorted(MUTATIONS), help="see mutations.py")
    parser.add_argument("--trace", action="store_true", help="tell everything that happened")
    parser.add_argument(
        "--shrink", action="store_true", help="leave out what is not needed to fail"
    )
    parser.add_argument("--keep-going", action="store_true", help="not only to the first failure")
    parser.add_argument(
        "--without", action="append", default=[], metavar="NAME", choices=sorted([*TROUBLES, *ARRAYS]),
        help=f"leave out a trouble or an array: {', '.join(sorted([*TROUBLES, *ARRAYS]))}",
    )  # fmt: skip
    return parser


def replay_of(seed: int, options: argparse.Namespace) -> str:
    """The command that plays that one schedule again."""
    extra = [f"--switch-off {options.switch_off}"] if options.switch_off else []
    extra += [f"--without '{name}'" for name in options.without]
    return " ".join([COMMAND, "--count 1", f"--seed {seed}", *extra, "--trace"])


def main() -> int:
    """Give the exit status: 0 when every schedule kept every invariant."""
    options = make_parser().parse_args()
    be_quiet()
    seeds = range(options.seed, options.seed + options.count)
    mutation = (
        MUTATIONS[options.switch_off].applied() if options.switch_off else contextlib.nullcontext()
    )
    tally = Tally()
    with mutation:
        for failure in run(seeds, tally, options.without):
            shown = failure.shrunk() if options.shrink else failure
            say(told(shown, replay_of(shown.schedule.seed, options), traced=options.trace))
            if not options.keep_going:
                break
        if options.trace and options.count == 1 and not tally.failures:
            schedule = draw(options.seed, without=options.without)
            say("\n".join([schedule.text, *map(line, play(schedule).records)]))
    say(f"seeds {seeds[0]} to {seeds[0] + tally.schedules - 1}: {tally}")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
