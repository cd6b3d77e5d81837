"""Worlds with continuous actions, whose values are exact or known from a grid."""
