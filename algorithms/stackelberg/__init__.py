"""StackelbergLearner: the leader, its followers and the game they play."""
