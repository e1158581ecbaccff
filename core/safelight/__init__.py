"""The floor of every role: the queue in Postgres, the stream in Redis, the wire, the pipeline interface.

It knows no role, no HTTP and no Kubernetes.
"""

__version__ = "0.1.0"
