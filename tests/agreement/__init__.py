"""Does the model answer as the real thing does?  Random command sequences, on both, answer by answer.

Theory of operation
-------------------
`generator` makes sequences: a pure function of a seed and a number, so that both name a sequence for good.  A sequence
is *steps*, a nexus and words each (``B1 prout 1 6 0xb1``, see `tests.target.replay`, whose language it is).

`real` sends a step to a real target through an sg node, in the guest; `model` gives it to `LogicalUnitModel`.  Both
answer with text that says status, sense and parameter data, and everything that is chance is taken out on both
sides alike: PRGENERATION counts from where the sequence began, a TransportID is the name of its nexus.  So two answers
agree when the texts are equal.

Between sequences both sides go back to nothing: no registration, no reservation, no unit attention, zeros on the
blocks that sequences write.  The model is made anew.  The real side is cleaned by commands, and then asked whether
it is clean; a generation that does not say so ends the run.

A sequence that the two answer differently is *shrunk* (`difference`): steps are left out one by one while there
still is a difference.  What is left is printed in words, and as a record for `tests/target/measured`.

    scripts/lab run --fabric loop -- python -m tests.agreement --sequences 10000 --seed 1
"""
