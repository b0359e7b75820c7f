"""Which members hold a shard, how it gets there, and how the others read it."""
