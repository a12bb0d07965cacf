"""Arrays of programmable conductances: what their wires and their cells do to a product of matrix and vector."""
