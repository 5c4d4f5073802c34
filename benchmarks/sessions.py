"""Measures the session layer; see README.md. Usage: sessions.py NAME."""

import argparse
import json

from session_records import growth, records


def main() -> None:
    names = {f.__name__: f for f in (records, growth)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=names)
    parser.add_argument("--threads", type=int, default=128)
    parser.add_argument("--each", type=int, default=50, help="calls of each thread")
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, default=3, choices=(1, 2, 3))
    options = parser.parse_args()
    figures = names[options.name](options)
    print(json.dumps({"benchmark": options.name, **figures}, indent=2))


if __name__ == "__main__":
    main()
