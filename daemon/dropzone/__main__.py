"""Lets ``python -m dropzone`` run the command line."""

from dropzone.cli import main

if __name__ == "__main__":
    main()
