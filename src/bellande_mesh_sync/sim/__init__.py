"""The simulator: many cores in one process, on virtual time, a virtual network and virtual disks.

One seed decides everything, so every failure can be replayed. It runs the very core that
production runs; only the shell around it is simulated.
"""
