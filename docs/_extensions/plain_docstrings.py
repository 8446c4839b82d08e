"""Docstrings as their authors mean them: bars are absolute values, underscores parts of names, [1] a plain number."""

import re

FOOTNOTE = re.compile(r"^(\s*)\.\. (?=\[\d+\])|(?<=\d\])_")
MARKS = re.compile(r"(``.*?``|`.*?`)|(\||(?<=\w)_(?!\w))")


def escape(app, what, name, obj, options, lines):
    """Take from these marks, outside of code, what reStructuredText reads in them."""
    lines[:] = [
        MARKS.sub(lambda found: found[1] or "\\" + found[2], FOOTNOTE.sub(r"\1", line)) for line in lines
    ]


def setup(app):
    app.connect("autodoc-process-docstring", escape, priority=600)  # after napoleon
    return {"version": "1", "parallel_read_safe": True}
