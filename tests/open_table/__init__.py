"""What each open option does in each starting state, as one table: played on the model, and on LIO in the lab.

`row` is a line of the table and the file it is kept in, `states` brings a starting state about, `play` plays one line
on a `play.Stage` (`model_stage`, `lio_stage`), `record` writes the file from the model, `draw` the page from the file.
"""
