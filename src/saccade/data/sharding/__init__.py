"""`saccade shard`: any source as tar shards in the WebDataset convention."""
