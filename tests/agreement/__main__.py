"""``python -m tests.agreement``: compare as many sequences as asked, in a lab's guest."""

import argparse
import os
import sys
from pathlib import Path

from tests.agreement.in_guest import compare_many, sides
from tests.agreement.run import Tally
from tests.agreement.side import Side, play
from tests.agreement.step import Step
from tests.lab.fabric import FabricReport

EXAMPLE = "scripts/lab run --fabric loop -- python -m tests.agreement --sequences 10000 --seed 1"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.agreement", description=__doc__, epilog=EXAMPLE
    )
    parser.add_argument("--sequences", type=int, default=100, metavar="N", help="default: 100")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="sequence to begin with")
    parser.add_argument(
        "--log-in-again", type=float, default=0.0, metavar="N",
        help="how many of a hundred steps end a session and begin another (iSCSI; default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", metavar="TEXT",
        help="play these instead: 'A1 prout 6 0 0 0xa1; A1 lun-reset; A2 tur', see tests/target/replay.py",
    )  # fmt: skip
    parser.add_argument("--tally", action="store_true", help="say how often each command ended how")
    return parser


def tell(words: str, model: Side, real: Side) -> int:
    """Play one sequence on both and say every answer; 1 when they differ anywhere."""
    steps = [Step(*text.split(maxsplit=1)) for text in words.split(";") if text.strip()]
    answers = list(zip(steps, play(real, steps), play(model, steps), strict=True))
    for step, by_real, by_model in answers:
        differs = "" if by_real == by_model else f"    the model: {by_model}"
        say(f"{step} = {by_real}{differs}" if by_real else str(step))
    return int(any(by_real != by_model for _, by_real, by_model in answers))


def summary(tally: Tally, seed: int) -> str:
    differ = sum(tally.kinds.values())
    return (
        f"seed {seed}: {tally.sequences} sequences, {tally.commands} commands, {tally.seconds:.1f} s; "
        f"{differ} sequences differ, in {len(tally.kinds)} ways"
    )


def main() -> int:
    """Give the exit status: 0 when both sides agree."""
    options = make_parser().parse_args()
    if "LAB_FABRIC" not in os.environ:
        say(f"not in a lab; for example: {EXAMPLE}")
        return 2
    report = FabricReport.from_json(Path(os.environ["LAB_FABRIC"]).read_text())
    if options.steps:
        with sides(report) as (model, real):
            return tell(options.steps, model, real)
    numbers = range(options.first, options.first + options.sequences)
    tally = compare_many(
        report, seed=options.seed, numbers=numbers, say=say, sessions=options.log_in_again
    )
    if options.tally:
        say("\n".join(f"{count:7} {what}" for what, count in sorted(tally.answers.items())))
    say(summary(tally, options.seed))
    return 1 if tally.kinds else 0


if __name__ == "__main__":
    sys.exit(main())
