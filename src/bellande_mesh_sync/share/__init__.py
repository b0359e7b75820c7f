"""Keep a folder and a prefix of keys the same, both ways: what `bms share` does."""
