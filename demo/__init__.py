"""The demo: three real nodes on this machine become one mesh, fill up, lose a node and converge."""
