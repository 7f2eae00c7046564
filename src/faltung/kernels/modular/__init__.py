"""Products modulo any number and their way back from residues to integers."""
