"""The only room that touches processes: it turns the machine's actions into system calls, and the world into events."""
