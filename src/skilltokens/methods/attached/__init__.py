"""Methods that stand beside a policy of another make."""
