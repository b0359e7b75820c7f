"""The command line, `bms`. Heavy libraries are imported by the commands that need them, not by `--help`."""
