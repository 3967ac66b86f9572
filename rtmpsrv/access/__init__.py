"""May this happen? Address rules, limits, and what asks others for leave."""
