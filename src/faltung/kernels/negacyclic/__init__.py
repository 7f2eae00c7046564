"""Convolutions along one axis by negacyclic transforms, each signal by itself: its columns, then its rows side by side in the lanes."""
