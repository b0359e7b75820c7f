"""The planted bugs, by the part of the core that they are in."""
