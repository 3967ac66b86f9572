"""Several processes that serve as one: succession, mirrors, the keeper, workers."""
