"""What the mesh agrees on for ever: signed statements, spread to all and never taken back."""
