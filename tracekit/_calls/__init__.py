"""The life of a call, without any protocol or I/O: what every edge is made of."""
