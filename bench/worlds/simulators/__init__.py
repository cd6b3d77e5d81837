"""Worlds that gymnasium simulates: how their spaces, states and policies are seen here."""
