"""`python -m benchmarks chart|summary FILE`: a document of results -> SVG or Markdown.

Both go to standard output. Exit codes: 0, or 2 if the file is no such document.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import chart, document, summary
from benchmarks.document import DocumentError

FORMS = {"chart": chart.svg, "summary": summary.markdown}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Show the results of an earlier run."
    )
    parser.add_argument("form", choices=FORMS, help="an SVG chart, or tables as Markdown")
    parser.add_argument("file", type=Path, metavar="FILE", help="what --json wrote")
    options = parser.parse_args(arguments)
    try:
        content = document.load(options.file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, DocumentError) as exc:
        print(f"benchmarks: {options.file}: {exc}", file=sys.stderr)
        return 2
    sys.stdout.write(FORMS[options.form](content))
    return 0
