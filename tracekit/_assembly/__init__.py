"""Assembly: the one layer that knows both settings and the parts that they configure."""
