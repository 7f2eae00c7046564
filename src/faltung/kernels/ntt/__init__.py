"""Number-theoretic transforms: exact products of residues and integers."""
