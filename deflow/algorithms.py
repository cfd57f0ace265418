"""The algorithms, as rows of one table: which part each takes."""

import difflib
