"""Lets ``python daemon`` run the command line of a bare checkout."""

from dropzone.cli import main

if __name__ == "__main__":
    main()
