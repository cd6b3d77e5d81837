"""The game: who wants what, the kernel loss, and where the follower's answer moves."""
