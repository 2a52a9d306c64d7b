"""What runs in the child: the loop, the gate through which interrupts come, the in-task functions.

It must import neither the parent's side nor anything slow: it is loaded before every first task.
"""
