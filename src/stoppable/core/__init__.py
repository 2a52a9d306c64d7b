"""The pure part: decides what a pool does, and does none of it. No clock, no I/O, no thread."""
