"""Deployment: a trained policy in forms that other machines can run."""
