"""A paper's table: learners by datasets in normalized scores, published numbers beside ours."""
