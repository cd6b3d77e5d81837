"""Updates in JAX for continuous actions; a file is named like its learner."""
