"""`python -m tanyun` is `tanyun`."""

from tanyun.cli import main

if __name__ == "__main__":
    main()
