"""Updates in JAX for numbered actions; a file is named like its learner."""
