"""What a process says about itself: lines, numbers, and whether it is well.

logs      one line an event, as JSON or for people; secrets are taken out
metrics   every metric of the project, and their text for Prometheus
health    alive? ready? and the small server that says so for the processor
loops     work that is repeated for ever, supervised
"""
