"""The tests of JAX share a process with those of Slurm."""

# Its import ends every log handler there is; absl's, which comes with optax, closes the stderr it
# was made with, and that is pytest's. So it comes first.
import submitit  # noqa: F401
