"""`python -m crawler`, and the command `crawl`: the door, before anything heavy is imported."""

import sys


def main() -> None:
    try:
        from crawler.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
