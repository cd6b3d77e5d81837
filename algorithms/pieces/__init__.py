"""What several learners of continuous actions are made of."""
