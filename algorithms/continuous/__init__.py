"""Learners of continuous actions, one file each; several share their name with a discrete one."""
