"""Followers: critics with settings of their own, each playing its side of a round."""
