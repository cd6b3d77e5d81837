"""Updates by others: the same ones in JAX, as short as can be, and d3rlpy's, timed beside ours."""
