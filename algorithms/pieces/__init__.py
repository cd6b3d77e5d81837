"""What learners of continuous actions are made of, where it is an idea of its own."""
