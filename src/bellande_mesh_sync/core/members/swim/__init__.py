"""SWIM with Lifeguard: who is in the mesh and who answers, at a cost per node that does not grow with it."""
