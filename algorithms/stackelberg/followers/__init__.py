"""Followers: how each kind of critic answers the leader."""
