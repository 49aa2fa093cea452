"""What a model makes of questions, and what that is worth."""
