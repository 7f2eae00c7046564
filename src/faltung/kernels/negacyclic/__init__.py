"""Convolutions along one axis by negacyclic transforms, each signal by itself."""
